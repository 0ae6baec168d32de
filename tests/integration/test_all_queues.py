"""Every queue of an app is looked at by ``autocelery check --queued`` and by the doctor, or said not to be."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from celery import Celery

from autocelery._check.comparing import Verdict
from autocelery._check.messages import compare_queued
from autocelery._doctor.services.broker import Broker, BrokerView
from tests import services


@pytest.fixture
def app(rabbitmq_vhost: services.RabbitMQ) -> Iterator[Celery]:
    app = Celery("shop", broker=rabbitmq_vhost.url, set_as_current=False)
    app.conf.task_ignore_result = True
    yield app
    app.close()


def test_messages_of_a_quorum_queue_are_not_called_safe(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    app.conf.task_default_queue_type = "quorum"
    app.send_task("shop.add", (1,))
    with caplog.at_level(
        logging.WARNING, "autocelery"
    ):  # a worker that ran in this process may have raised it
        [found] = compare_queued(app)
    assert (found.task, found.verdict) == ("(queue celery)", Verdict.UNKNOWN)
    assert "celery is a quorum queue" in caplog.text


def test_the_doctor_sees_a_queue_that_only_a_route_names(app: Celery) -> None:
    routes = {"shop.add": {"queue": "hello"}}
    with Celery("producer", broker=app.conf.broker_url, set_as_current=False) as producer:
        producer.conf.update(task_routes=routes, task_ignore_result=True)
        producer.send_task("shop.add", (1,))
    app.conf.task_routes = routes
    app.task(name="shop.add", shared=False)(add)
    view = BrokerView.take(app, Broker.of(app))
    assert {each.name: each.messages for each in view.queues} == {"hello": 1}


def add(x: int) -> None:
    """Do nothing."""
