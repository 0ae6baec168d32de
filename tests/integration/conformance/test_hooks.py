"""A task's base class, and what Celery calls on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import since
from tests.integration.conformance.records import Record

Same = Callable[..., Record]


def hooks(record: Record, name: str) -> list[str]:
    """Return the steps of a call that are no signals."""
    return [each for each in record.call(name).steps() if not each.startswith("task_")]


@pytest.mark.reduced
def test_the_hooks_of_success_are_called_in_order(same: Same) -> None:
    record = same(lambda on: on.hooked.delay(5))
    assert hooks(record, "hooked") == ["before_start", "__call__", "on_success", "after_return"]


def test_the_hooks_of_failure_are_called_in_order(same: Same) -> None:
    record = same(lambda on: on.hooked_failing.delay(5))
    assert hooks(record, "hooked_failing") == ["before_start", "__call__", "on_failure", "after_return"]
    assert "Refused('hooked', 5)" in record.call("hooked_failing").step("on_failure")


def test_the_hooks_of_a_retry_are_called_in_order(same: Same) -> None:
    record = same(lambda on: on.hooked_retrying.delay(5))
    first = ["before_start", "__call__", "on_retry"]
    assert hooks(record, "hooked_retrying") == [
        *first,
        "before_start",
        "__call__",
        "on_success",
        "after_return",
    ]


def test_no_hook_is_called_after_an_ignored_task(same: Same) -> None:
    record = same(lambda on: on.hooked_ignoring.delay(5) and None)
    assert hooks(record, "hooked_ignoring") == ["before_start", "__call__"]


def test_hooks_that_fail_do_not_change_the_outcome(same: Same) -> None:
    record = same(lambda on: on.with_failing_hooks.delay())
    assert record.value == ("SUCCESS", "done all the same")
    told_of = 2 if since.HOOKS_FAIL_ALONE else 0
    assert sum("handler raised" in each for each in record.call("with_failing_hooks").logged) == told_of


def test_a_task_whose_start_fails_fails(same: Same) -> None:
    record = same(lambda on: on.never_started.delay())
    assert record.value[0] == "FAILURE"
    assert record.value[1].endswith("Refused('before it began', 1)")
