"""How a call fails, and what its caller gets to see of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conformance.fleets import Caller, Fleet
from tests.integration.conformance.records import Record, without_addresses
from tests.waiting import PATIENCE

Same = Callable[..., Record]


@pytest.mark.reduced
def test_an_exception_comes_back_with_its_arguments_and_its_traceback(same: Same) -> None:
    record = same(lambda on: on.fails.delay())
    call = record.call("fails")
    assert record.value == ("FAILURE", "builtins.ValueError('broken', 42)")
    assert call.event_types() == ["sent", "received", "started", "failed"]
    assert call.steps() == ["task_received", "task_prerun", "task_failure", "task_postrun"]


@pytest.mark.without("rpc")
@pytest.mark.reduced
def test_a_traceback_shows_the_callers_own_file_and_line(same: Same, fleet: Fleet) -> None:
    traceback = same(lambda on: on.fails_deeply.delay()).call("fails_deeply").meta("traceback")
    assert traceback is not None
    assert str(fleet.project.folder / fleet.project.package / "failing.py") in traceback
    assert traceback.count(" in deep") == 3
    assert traceback.rstrip().endswith("ValueError: ('deep', 42)")


@pytest.mark.reduced
def test_an_exception_of_the_project_comes_back_as_its_own_class(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        result = on.refuses.delay()
        outcome = result.get(propagate=False, timeout=PATIENCE)
        failing = on.fleet.project.module("failing")
        return [type(outcome) is failing.Refused, outcome.args]

    assert same(scenario).value == (True, ("not today", 7))


@pytest.mark.parametrize(
    "task", ["fails_strangely", "fails_nestedly", "fails_of_a_cause", "fails_in_a_group"]
)
def test_unusual_exceptions_come_back_the_same(same: Same, task: str) -> None:
    record = same(lambda on: getattr(on, task).delay(), apart_from=without_addresses)
    assert record.value[0] == "FAILURE"


def test_an_exception_that_cannot_be_pickled_comes_back_described(same: Same) -> None:
    record = same(lambda on: on.fails_unpicklably.delay(), apart_from=without_addresses)
    assert record.value[0] == "FAILURE"
    assert "has a lock" in record.value[1]


def test_an_expected_exception_fails_the_call_all_the_same(same: Same) -> None:
    record = same(lambda on: on.fails_as_expected.delay())
    assert record.value == ("FAILURE", "builtins.KeyError('expected',)")
    assert any("raised expected" in each for each in record.call("fails_as_expected").logged)


def test_errors_of_ignored_results_are_stored_where_asked_for(same: Same) -> None:
    def scenario(on: Caller) -> None:
        on.fails_forgotten.delay()
        on.fails_remembered.delay()

    record = same(scenario)
    assert record.call("fails_forgotten").meta("status") == "PENDING"
    assert record.call("fails_remembered").meta("status") == "FAILURE"


@pytest.mark.pools("prefork")
@pytest.mark.parametrize("code", [0, 3, "a reason"])
def test_a_task_that_exits_is_a_lost_worker(same: Same, code: Any) -> None:
    """In the other pools a deployed call that exits is never heard of again."""
    record = same(lambda on: on.exits.delay(code))
    assert record.value[0] == "FAILURE"
    assert "WorkerLostError" in record.value[1]


@pytest.mark.pools("prefork")
def test_a_task_that_is_interrupted_is_a_lost_worker(same: Same) -> None:
    """In the other pools a deployed call that is interrupted is never heard of again."""
    record = same(lambda on: on.interrupts.delay())
    assert "WorkerLostError" in record.value[1]
