"""The pytest plugin: fixtures whose names begin with ``autocelery_``.

None of them is automatic. Which app they are about says the setting
``autocelery_app``, the variable ``CELERY_APP``, or a fixture
``autocelery_app`` of the project's own. Every run of pytest imports this,
so what the fixtures need is imported by them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from autocelery.errors import AppNotFound

if TYPE_CHECKING:
    from celery import Celery

    from autocelery.testing import Beat, Sent, Time


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings."""
    parser.addini("autocelery_app", "the Celery app under test, as -A of Celery takes it: proj.celery:app")
    parser.addini(
        "autocelery_broker", "the broker of the fixture autocelery_worker; by default the app's own"
    )


@pytest.fixture
def autocelery_app(pytestconfig: pytest.Config) -> Celery:
    """The app under test; a fixture of this name in a conftest.py replaces it."""
    from celery.app.utils import find_app

    named = pytestconfig.getini("autocelery_app") or os.environ.get("CELERY_APP")
    if not named:
        raise AppNotFound(
            "The fixtures of autocelery do not know the app under test. Set autocelery_app = proj.celery:app in "
            "pytest's configuration, or write a fixture autocelery_app that returns it."
        )
    found: Celery = find_app(named)
    return found


@pytest.fixture
def autocelery_sent() -> Iterator[list[Sent]]:
    """What the test sends, noted for `assert_sent`; it goes where it always goes."""
    from autocelery.testing import recording

    with recording() as sent:
        yield sent


@pytest.fixture
def autocelery_eager(autocelery_app: Celery, autocelery_sent: list[Sent]) -> Iterator[Celery]:
    """The app, whose calls run in this process, at once."""
    from autocelery.testing import eager

    with eager(autocelery_app):
        yield autocelery_app


@pytest.fixture
def autocelery_memory_worker(autocelery_app: Celery, autocelery_sent: list[Sent]) -> Iterator[Any]:
    """A real worker in a thread of this process; messages and results are in its memory."""
    from autocelery.testing import memory_worker

    with memory_worker(autocelery_app) as worker:
        yield worker


@pytest.fixture
def autocelery_worker(
    autocelery_app: Celery, autocelery_sent: list[Sent], pytestconfig: pytest.Config
) -> Iterator[Any]:
    """A real worker in a thread of this process on a real broker, in a queue of its own."""
    from autocelery.testing import broker_worker

    with broker_worker(autocelery_app, pytestconfig.getini("autocelery_broker") or None) as worker:
        yield worker


@pytest.fixture
def autocelery_time(autocelery_app: Celery) -> Iterator[Time]:
    """Time that stands still until the test moves it; for ETAs, countdowns, retries and expiries."""
    from autocelery.testing import Time

    time = Time(autocelery_app)
    yield time
    time.release()


@pytest.fixture
def autocelery_beat(autocelery_app: Celery, autocelery_time: Time, autocelery_sent: list[Sent]) -> Beat:
    """The app's ``beat_schedule``, whose entries are sent while the test moves time with it."""
    from autocelery.testing import Beat

    return Beat(autocelery_app, autocelery_time)
