"""All queues of an app: those that it declares, and those that its tasks go to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from autocelery._celery.queues import names_of_all

#: Celery 5.7 says so of each task that names its queue; many do.
pytestmark = pytest.mark.filterwarnings("ignore:\\s*The 'queue' task attribute is deprecated")


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_routes = {"shop.reports.*": {"queue": "reports"}}

    @app.task(name="shop.mail", queue="mail")
    def mail() -> None: ...

    @app.task(name="shop.reports.monthly")
    def monthly() -> None: ...

    yield app
    app.close()


def test_queues_that_nothing_was_sent_to_yet_are_among_them(app: Celery) -> None:
    assert set(app.amqp.queues) == {"celery"}
    assert names_of_all(app) == ["celery", "mail", "reports"]


def test_a_queue_may_be_given_as_an_object(app: Celery) -> None:
    @app.task(name="shop.ship", queue=Queue("ships"))  # type: ignore[no-untyped-call]
    def ship() -> None: ...

    assert "ships" in names_of_all(app)


def test_a_route_to_a_queue_that_cannot_be_made_is_no_error(app: Celery) -> None:
    app.conf.task_create_missing_queues = False
    assert names_of_all(app) == ["celery", "mail"]


def test_a_router_that_looks_at_arguments_is_no_error(app: Celery) -> None:
    def by_customer(name: str, args: Any, kwargs: Any, options: Any, **_: Any) -> str:
        return str(kwargs["customer"])

    app.conf.task_routes = (by_customer,)
    assert names_of_all(app) == ["celery", "mail"]
