"""Ignored, rejected and late acknowledged messages."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.conformance.records import Record

Same = Callable[..., Record]


def test_an_ignored_task_leaves_the_state_that_it_set(same: Same) -> None:
    record = same(lambda on: on.ignores.delay() and None)
    call = record.call("ignores")
    assert call.meta("status") == "MINE"
    assert call.event_types() == ["sent", "received", "started"]


def test_a_rejected_message_fails(same: Same) -> None:
    record = same(lambda on: on.rejects.delay())
    assert record.value == ("FAILURE", "celery.exceptions.Reject('unwanted', False)")
    assert record.call("rejects").event_types() == ["sent", "received", "started", "failed", "rejected"]


def test_a_rejected_message_that_was_acknowledged_fails(same: Same) -> None:
    assert same(lambda on: on.rejects_early.delay()).value[0] == "FAILURE"


def test_a_message_that_is_put_back_comes_again(same: Same) -> None:
    record = same(lambda on: on.rejects_once.delay())
    assert record.value == ("SUCCESS", "the second time")
    assert record.call("rejects_once").event_types().count("received") == 2


def test_late_acknowledged_calls_end_as_early_ones_do(same: Same) -> None:
    record = same(lambda on: [on.late.delay(1), on.late_failing.delay(), on.late_failing_rejected.delay()])
    assert [state for state, _ in record.value] == ["SUCCESS", "FAILURE", "FAILURE"]
    assert record.call("late_failing_rejected").event_types()[-2:] == ["rejected", "failed"]
