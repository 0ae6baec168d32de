"""Every queue of an app is looked at by ``autocelery check --queued`` and by the doctor, or said not to be."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from celery import Celery
from kombu import Producer

from autocelery._check.comparing import Verdict
from autocelery._check.messages import compare_queued
from autocelery._doctor.services.broker import Broker, BrokerView
from tests import services
from tests.waiting import wait_for


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


def test_a_quorum_queue_in_which_nothing_waits_has_nothing_that_was_not_looked_at(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    app.conf.task_default_queue_type = "quorum"
    with app.connection_for_write() as connection:
        app.amqp.queues["celery"].bind(connection.default_channel).declare()
    with caplog.at_level(logging.WARNING, "autocelery"):
        assert list(compare_queued(app)) == []
    assert "quorum" not in caplog.text


def test_messages_for_a_quorum_queue_that_are_not_due_are_not_called_safe(app: Celery) -> None:
    delaying = pytest.importorskip("kombu.transport.native_delayed_delivery")
    app.conf.task_default_queue_type = "quorum"
    with app.connection_for_write() as connection:
        delaying.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        assert list(compare_queued(app)) == []
        Producer(connection).publish("late", exchange="", routing_key=delaying.level_name(27))
    [found] = wait_for(lambda: list(compare_queued(app)), what="it waits")
    assert (found.task, found.verdict) == ("(delayed)", Verdict.UNKNOWN)


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
