"""Whether a worker tells of its tasks, by the events that come of it."""

from __future__ import annotations

from autocelery._dashboard.telling import Telling


def heard(*events: int | str) -> bool:
    """Return whether a worker is silent after heartbeats with these numbers of tasks run, and events of these types."""
    telling = Telling()
    for each in events:
        event = {"type": "worker-heartbeat", "processed": each} if isinstance(each, int) else {"type": each}
        telling.take({"hostname": "a@b", **event})
    return telling.is_silent("a@b")


def test_one_that_runs_tasks_and_tells_of_none_is_silent() -> None:
    assert heard(7, 8, 8)
    assert heard(7, 8, 9)


def test_one_whose_events_are_late_or_that_has_nothing_to_tell_is_not() -> None:
    assert not heard(7, 7, 7), "idle"
    assert not heard(7, 8, "task-started", 8, 8), "its events came after a heartbeat"
    assert not heard(7, "task-received", 7, 8, "task-succeeded", 8)
    assert not heard(7, 0, 0), "it was started again"
    assert not heard(7, 8, 8, "task-received"), "events were enabled since"


def test_one_of_which_tasks_were_sent_out_before_anybody_listened_is_not() -> None:
    telling = Telling()
    telling.take({"hostname": "a@b", "type": "worker-heartbeat", "processed": 7})
    telling.forget()
    for _ in range(3):
        telling.take({"hostname": "a@b", "type": "worker-heartbeat", "processed": 9})
    assert not telling.is_silent("a@b")
