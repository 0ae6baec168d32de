"""Which calls are looked after once they are sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from autocelery import Autocelery
from autocelery._celery.attending import SETTING, Attendance
from autocelery.testing import eager
from autocelery_host.header import HEADER
from autocelery_host.messages import SentHeaders


@pytest.fixture
def app() -> Celery:
    app = Celery("shop", broker="memory://", set_as_current=False)
    Autocelery(app)
    return app


@pytest.fixture
def look(app: Celery) -> Callable[..., list[Any]]:
    """Look after one call, and return what was asked about by then."""
    asked: list[Any] = []
    attendance = Attendance(app, lambda queue, is_live: is_live, lambda *told: asked.append(told[1:]))

    def look(queue: str, sender: Celery = app, **headers: Any) -> list[Any]:
        attendance.look("add", queue, SentHeaders(sender, {}, headers))
        for thread in threading.enumerate():
            if thread.name == "autocelery-attendance":
                thread.join()
        return list(asked)

    return look


def test_a_live_call_is_looked_after_once_for_each_queue(look: Callable[..., list[Any]]) -> None:
    assert look("celery") == []
    live = {HEADER: {}}
    assert look("celery", **live) == [("add", "celery")]
    assert look("celery", **live) == [("add", "celery")]
    assert look("gpu", **live) == [("add", "celery"), ("add", "gpu")]


def test_calls_of_another_app_and_of_one_that_says_no_are_left_alone(
    app: Celery, look: Callable[..., list[Any]]
) -> None:
    live = {HEADER: {}}
    assert look("celery", Celery("other", set_as_current=False), **live) == []
    app.conf[SETTING] = False
    assert look("celery", **live) == []


def test_what_an_eager_app_has_run_itself_waits_nowhere(app: Celery, look: Callable[..., list[Any]]) -> None:
    live = {HEADER: {}}
    with eager(app):
        assert look("celery", **live) == []
    assert look("celery", **live) == [("add", "celery")]
