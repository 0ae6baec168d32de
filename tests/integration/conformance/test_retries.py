"""Calls that are tried again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import since
from tests.integration.conformance.records import Record, whoever_was_last

Same = Callable[..., Record]

_RETRY = ["task_prerun", "task_retry", "task_postrun"]
_SUCCESS = ["task_prerun", "task_success", "task_postrun"]


@pytest.mark.reduced
def test_a_task_is_tried_until_it_succeeds(same: Same) -> None:
    record = same(lambda on: on.third_time.delay("x"))
    call = record.call("third_time")
    assert record.value == ("SUCCESS", ("x", 2))
    thrice = ["sent"] * 3 + ["received"] * 3 + ["started"] * 3
    assert call.event_types() == [*thrice, "retried", "retried", "succeeded"]
    assert call.steps() == ["task_received"] * 3 + _RETRY * 2 + _SUCCESS


def test_the_reason_of_a_retry_is_told(same: Same) -> None:
    call = same(lambda on: on.third_time_for_a_reason.delay()).call("third_time_for_a_reason")
    reasons = [dict(fields)["exception"] for kind, fields in call.events if kind == "task-retried"]
    assert ["ConnectionError('flaky')" in each for each in reasons] == [True, True]


@pytest.mark.reduced
def test_too_many_retries_fail_the_call(same: Same) -> None:
    record = same(lambda on: [on.never.delay(), on.never_for_a_reason.delay()])
    (state, error), (_, reason) = record.value
    assert state == "FAILURE"
    assert error.startswith("celery.exceptions.MaxRetriesExceededError")
    assert reason.endswith("Refused('still not', 1)")


def test_a_task_retries_by_itself_on_the_exceptions_it_names(same: Same) -> None:
    record = same(lambda on: [on.by_itself.delay(1), on.by_itself_unless.delay()])
    assert record.value == (
        ("FAILURE", "builtins.ConnectionError('again', 1)"),
        ("FAILURE", "builtins.KeyError('not this one',)"),
    )
    assert record.call("by_itself").event_types().count("retried") == 2


def test_a_retry_may_change_its_arguments(same: Same) -> None:
    assert same(lambda on: on.changed.delay(1)).value == ("SUCCESS", (2, 2))


def test_a_retry_that_does_not_throw_lets_the_task_go_on(same: Same) -> None:
    record = same(lambda on: on.unthrown.delay())
    assert record.call("unthrown").event_types().count("succeeded") == 2


def test_a_retry_keeps_headers_limits_shadow_and_callbacks(same: Same) -> None:
    record = same(
        lambda on: on.with_what_it_had.apply_async(
            headers={"color": "blue"},
            time_limit=30,
            soft_time_limit=20,
            shadow="another name",
            link=on.add.s(10),
            link_error=on.old_errback.s(),
        )
    )
    call = record.call("with_what_it_had")
    headers = [each for each in call.ran if each.split(" ")[1] in ("headers", "limits")]
    headers = [each.split(" ", 1)[1] for each in headers]
    assert headers[:2] == headers[2:]
    assert record.call("add").args.startswith("(1, 10)")


def test_a_retry_keeps_the_callers_wish_for_no_result(same: Same) -> None:
    record = same(lambda on: on.third_time.apply_async((1,), ignore_result=True) and None)
    status = "PENDING" if since.CALLS_DECIDE_ON_THEIR_RESULTS else "SUCCESS"
    assert record.call("third_time").meta("status") == status


@pytest.mark.reduced
def test_a_retry_in_a_chain_goes_on_where_it_was(same: Same) -> None:
    record = same(lambda on: (on.third_time.s("x") | on.echo.s("after"))())
    assert record.value == ("SUCCESS", ((("x", 2), "after"), {}))


def test_a_retry_in_a_chord_counts_once(same: Same) -> None:
    from celery import chord

    record = same(
        lambda on: chord([on.third_time.s(n) for n in range(3)])(on.echo.s()), apart_from=whoever_was_last
    )
    assert record.value == ("SUCCESS", ((((0, 2), (1, 2), (2, 2)),), {}))
