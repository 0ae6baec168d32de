"""The differences between a live and a deployed call that stay: each is in docs/reference/differences.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autocelery.errors import HostLost
from tests.integration.conformance.fleets import Caller, Fleet, record_of
from tests.integration.conformance.records import Record
from tests.waiting import PATIENCE, wait_for

Live = Callable[[Callable[[Caller], Any]], Record]


@pytest.fixture
def live(fleet: Fleet) -> Live:
    """Run a scenario with live calls only, and return its record."""

    def run(scenario: Callable[[Caller], Any]) -> Record:
        caller = Caller(fleet, "live")
        return record_of(caller, caller.run(scenario))

    return run


@pytest.fixture
def same_pids(fleet: Fleet) -> Iterator[None]:
    """The worker's own processes are the same afterwards."""
    before = fleet.worker.pids()
    yield
    assert fleet.worker.pids() == before


@pytest.mark.usefixtures("same_pids")
def test_running_out_of_memory_costs_the_host_not_the_worker(live: Live) -> None:
    record = live(lambda on: on.runs_out_of_memory.delay())
    assert record.value == ("FAILURE", "builtins.MemoryError('all gone',)")
    assert record.call("runs_out_of_memory").event_types()[-1] == "failed"


@pytest.mark.usefixtures("same_pids")
@pytest.mark.pools("threads", "solo")
@pytest.mark.parametrize("task", ["exits", "interrupts"])
def test_a_task_that_exits_is_told_of_in_every_pool(live: Live, task: str) -> None:
    """In a prefork pool it is what it is for a deployed call: test_failures.py has it."""
    arguments = (3,) if task == "exits" else ()
    state, error = live(lambda on: getattr(on, task).delay(*arguments)).value
    assert state == "FAILURE"
    assert error.startswith("autocelery.errors.HostLost")


@pytest.mark.usefixtures("same_pids")
def test_a_task_that_is_killed_costs_the_host_not_the_pool_process(live: Live, fleet: Fleet) -> None:
    state, error = live(lambda on: on.killed.delay()).value
    assert state == "FAILURE"
    assert error.startswith("autocelery.errors.HostLost")
    with pytest.raises(HostLost):
        fleet.project.task("killed").live.delay().get(timeout=PATIENCE)


def test_a_message_names_the_live_task_and_shows_the_real_one(live: Live, fleet: Fleet) -> None:
    from celery import signals

    seen: list[dict[str, Any]] = []
    receiver = lambda headers, **_: seen.append(headers)  # noqa: E731
    signals.before_task_publish.connect(receiver, weak=False)
    try:
        live(lambda on: on.add.delay(1, 1))
    finally:
        signals.before_task_publish.disconnect(receiver)
    name = fleet.project.task("add").name
    assert (seen[0]["task"], seen[0]["shadow"]) == ("autocelery.live", name)


def test_a_live_errback_of_a_deployed_call_is_called_with_the_id_only(fleet: Fleet) -> None:
    task = fleet.project.task
    result = task("fails").apply_async(link_error=task("called").live.s())
    assert result.get(propagate=False, timeout=PATIENCE).args == ("broken", 42)
    wait_for(lambda: any(result.id in args for args in fleet.watch.received(task("called").name)))


def test_a_result_that_cannot_be_stored_is_named_with_its_type(live: Live) -> None:
    state, error = live(lambda on: on.returns_what_cannot_be_stored.delay()).value
    assert state == "FAILURE"
    assert "ValueNotPicklable" in error
    assert "of type _thread.lock" in error


@pytest.mark.reduced
def test_a_result_that_json_does_not_carry_arrives_as_it_is(live: Live) -> None:
    assert live(lambda on: on.returns_a_set.delay([1, 2])).value == ("SUCCESS", {1, 2})
