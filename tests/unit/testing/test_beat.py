"""The fixture for tests of beat: time is moved, and what an app's ``beat_schedule`` has is sent when it is due."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedstate

from autocelery.beat import Once, TimeOfDay
from autocelery.errors import ConfigurationError, EntryInvalid
from autocelery.testing import Beat, Time, assert_not_sent, assert_sent
from tests.waiting import PATIENCE

SATURDAY = datetime(2027, 3, 27, 12, tzinfo=UTC)


class EveryThird(BaseSchedule):
    """Is due three hours after it was last."""

    def is_due(self, last_run_at: datetime) -> Any:
        passed = self.now() - last_run_at
        return schedstate(passed >= timedelta(hours=3), 60)


@pytest.fixture
def autocelery_app() -> Celery:
    """The app that the plugin's fixtures are about."""
    app = Celery("bakery", broker="redis://nowhere.invalid", set_as_current=False)
    app.conf.timezone = "Europe/Madrid"

    @app.task(name="bake", shared=False)
    def bake(what: str = "bread") -> str:
        return what

    @app.task(name="later", shared=False)
    def later() -> None:
        bake.apply_async(("cake",), countdown=600)

    app.goes_on = threading.Event()

    @app.task(name="long", shared=False)
    def long() -> None:
        app.goes_on.wait(PATIENCE)

    app.conf.beat_schedule = {
        "night": {"task": "bake", "schedule": TimeOfDay("02:30")},
        "hour": {"task": "bake", "schedule": crontab("0"), "args": ["rolls"], "options": {"queue": "ovens"}},
    }
    return app


@pytest.fixture
def autocelery_time(autocelery_app: Celery) -> Any:
    """Time that begins on the day before clocks are changed."""
    time = Time(autocelery_app, SATURDAY)
    yield time
    time.release()


def moments(fired: list[Any], entry: str) -> list[str]:
    return [each.at.strftime("%d %H:%M") for each in fired if each.entry == entry]


def test_what_will_fire_is_shown_and_nothing_is_sent(autocelery_beat: Beat, autocelery_time: Time) -> None:
    shown = autocelery_beat.upcoming(days=2)
    assert moments(shown, "night") == ["28 01:00", "29 00:30"]  # 02:30 is skipped on the 28th
    assert len(moments(shown, "hour")) == 48
    assert shown == sorted(shown, key=lambda each: each.at)
    assert autocelery_time.now() == SATURDAY
    assert_not_sent("bake")
    assert autocelery_beat.upcoming(days=2) == shown


def test_what_is_due_is_sent_while_time_is_moved(
    autocelery_eager: Celery, autocelery_beat: Beat, autocelery_time: Time
) -> None:
    shown = autocelery_beat.upcoming(days=1)
    fired = autocelery_beat.move(days=1)
    assert fired == shown
    assert autocelery_time.now() == SATURDAY + timedelta(days=1)
    assert autocelery_beat.move(minutes=1) == []
    sent = assert_sent("bake", "rolls")
    assert sent.routing_key == "ovens"
    assert sent.headers["autocelery_beat"]["entry"] == "hour"
    assert sent.id == fired[-1].task_id
    assert autocelery_eager.AsyncResult(sent.id).get() == "rolls"
    assert_sent("bake")


def test_what_a_task_puts_off_runs_between_ticks(autocelery_eager: Celery, autocelery_time: Time) -> None:
    autocelery_eager.conf.beat_schedule = {"later": {"task": "later", "schedule": 3600}}
    beat = Beat(autocelery_eager, autocelery_time)
    beat.move(hours=1, minutes=9)
    assert autocelery_eager.AsyncResult(assert_sent("bake", "cake").id).state == "PENDING"
    beat.move(minutes=1)
    assert autocelery_eager.AsyncResult(assert_sent("bake", "cake").id).get() == "cake"


def test_a_memory_worker_runs_what_is_sent(
    autocelery_time: Time, autocelery_memory_worker: Any, autocelery_app: Celery
) -> None:
    autocelery_app.conf.beat_schedule = {"hour": {"task": "bake", "schedule": crontab("0")}}
    [fired] = Beat(autocelery_app, autocelery_time).move(hours=1)
    assert autocelery_app.AsyncResult(fired.task_id).get(timeout=PATIENCE) == "bread"
    assert assert_sent("bake").headers["autocelery_beat"]["tick"] == "2027-03-27T13:00:00+00:00"


def test_rules_of_entries_hold(
    autocelery_app: Celery, autocelery_eager: Celery, autocelery_time: Time
) -> None:
    autocelery_app.conf.beat_schedule = {
        "twice": {"task": "bake", "schedule": 60, "max_runs": 2},
        "ends": {"task": "bake", "schedule": 60, "ends": (SATURDAY + timedelta(minutes=3)).isoformat()},
        "once": {"task": "bake", "schedule": Once("2027-03-27T14:00"), "timezone": "UTC"},
        "class": {"task": "bake", "schedule": EveryThird()},
        "jitter": {"task": "bake", "schedule": crontab("0", "13"), "timezone": "UTC", "jitter": 300},
    }
    beat = Beat(autocelery_app, autocelery_time)
    shown = beat.upcoming(hours=7)
    fired = beat.move(hours=7)
    assert shown == fired
    assert [len(moments(fired, entry)) for entry in ("twice", "ends", "once", "class", "jitter")] == [
        2,
        3,
        1,
        2,
        1,
    ]


def test_time_that_is_moved_without_beat_is_time_in_which_none_ran(
    autocelery_app: Celery, autocelery_eager: Celery, autocelery_time: Time
) -> None:
    autocelery_app.conf.beat_schedule = {
        rule: {"task": "bake", "schedule": 3600, "missed": rule} for rule in ("skip", "once", "all")
    }
    beat = Beat(autocelery_app, autocelery_time)
    autocelery_time.move(hours=5, minutes=30)
    fired = beat.move(minutes=1)
    assert {entry: len(moments(fired, entry)) for entry in ("skip", "once", "all")} == {
        "skip": 0,
        "once": 1,
        "all": 5,
    }
    beat.start()
    assert moments(beat.upcoming(hours=1), "all") == ["27 18:31"]


def test_a_run_that_is_still_going_keeps_the_next_one_out(
    autocelery_time: Time, autocelery_memory_worker: Any, autocelery_app: Celery
) -> None:
    told = {"task": "long", "schedule": 60, "overlap": False}
    autocelery_app.conf.beat_schedule = {"long": told}
    beat = Beat(autocelery_app, autocelery_time)
    [first] = beat.move(minutes=3)
    autocelery_app.goes_on.set()
    assert autocelery_app.AsyncResult(first.task_id).get(timeout=PATIENCE) is None
    [second] = beat.move(minutes=1)
    assert autocelery_app.AsyncResult(second.task_id).get(timeout=PATIENCE) is None


def test_an_entry_that_makes_no_sense_fails_the_test(autocelery_app: Celery, autocelery_time: Time) -> None:
    for told, why in {
        "zone": ({"task": "bake", "schedule": 60, "timezone": "Europe/Madird"}, "Europe/Madrid"),
        "never": ({"task": "bake", "schedule": 0}, "all the time"),
        "nothing": (None, "not a dict"),
    }.values():
        autocelery_app.conf.beat_schedule = {"report": told}
        with pytest.raises(EntryInvalid, match=f"Entry 'report' of beat_schedule is not sent: .*{why}"):
            Beat(autocelery_app, autocelery_time)


def test_time_does_not_go_back(autocelery_beat: Beat) -> None:
    with pytest.raises(ConfigurationError, match="forward only"):
        autocelery_beat.move_to(SATURDAY - timedelta(seconds=1))
