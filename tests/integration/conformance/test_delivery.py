"""Ignored, rejected and late acknowledged messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests import since
from tests.integration.conformance.fleets import Caller
from tests.integration.conformance.records import Record
from tests.waiting import wait_for

Same = Callable[..., Record]


def test_an_ignored_task_leaves_the_state_that_it_set(same: Same) -> None:
    record = same(lambda on: on.ignores.delay() and None)
    call = record.call("ignores")
    assert call.meta("status") == "MINE"
    assert call.event_types() == ["sent", "received", "started"]


def heard_of(result: Any) -> Any:
    """Return the result of a call that rejects its message, where there is ever one to wait for."""
    return result if since.REJECTED_CALLS_FAIL else None


def test_a_rejected_message_fails(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        result = on.rejects.delay()
        wait_for(lambda: on.fleet.watch.count(result.id, "task-rejected"))
        return heard_of(result)

    record = same(scenario)
    failed = ["failed"] if since.REJECTED_CALLS_FAIL else []
    assert record.call("rejects").event_types() == ["sent", "received", "started", *failed, "rejected"]
    assert record.call("rejects").meta("status") == ("FAILURE" if failed else "PENDING")
    if failed:
        assert record.value == ("FAILURE", "celery.exceptions.Reject('unwanted', False)")


def test_a_rejected_message_that_was_acknowledged_fails(same: Same) -> None:
    record = same(lambda on: heard_of(on.rejects_early.delay()))
    status = "FAILURE" if since.REJECTED_CALLS_FAIL else "PENDING"
    assert record.call("rejects_early").meta("status") == status


def test_a_message_that_is_put_back_comes_again(same: Same) -> None:
    record = same(lambda on: on.rejects_once.delay())
    assert record.value == ("SUCCESS", "the second time")
    assert record.call("rejects_once").event_types().count("received") == 2


def test_late_acknowledged_calls_end_as_early_ones_do(same: Same) -> None:
    record = same(lambda on: [on.late.delay(1), on.late_failing.delay(), on.late_failing_rejected.delay()])
    assert [state for state, _ in record.value] == ["SUCCESS", "FAILURE", "FAILURE"]
    assert record.call("late_failing_rejected").event_types()[-2:] == ["rejected", "failed"]
