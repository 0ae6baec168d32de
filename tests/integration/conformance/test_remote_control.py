"""What workers say of live calls when they are asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conformance.fleets import Caller
from tests.integration.conformance.records import Record
from tests.waiting import PATIENCE, wait_for

Same = Callable[..., Record]

_PRIVATE = ("hostname", "id", "time_start", "worker_pid")


def shown(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if name not in _PRIVATE}


@pytest.mark.pools("prefork", "threads")
def test_a_running_call_is_shown_as_the_task_it_is(same: Same) -> None:
    """A worker with the solo pool does not answer while a task runs."""

    def scenario(on: Caller) -> Any:
        result = on.gated.delay(1, named=2)
        on.recording.wait_at_gate(result.id)
        inspect = on.control.inspect(destination=[on.fleet.worker.hostname], timeout=PATIENCE)
        active = {each["id"]: shown(each) for each in inspect.active()[on.fleet.worker.hostname]}
        queried = inspect.query_task(result.id)[on.fleet.worker.hostname][result.id]
        on.recording.open_gate(result.id)
        return [active[result.id], queried[0], shown(queried[1]), result]

    active, place, queried, _ = same(scenario).value
    assert place == "active"
    assert active["name"].endswith(".plain.gated")
    assert active["type"] == active["name"]
    assert (active["args"], active["kwargs"]) == ((1,), {"named": 2})
    assert queried == active


def test_a_scheduled_call_is_shown_as_the_task_it_is(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        result = on.add.apply_async((1, 1), countdown=2)
        wait_for(lambda: on.fleet.watch.count(result.id, "task-received"))
        inspect = on.control.inspect(destination=[on.fleet.worker.hostname], timeout=PATIENCE)
        scheduled = inspect.scheduled()[on.fleet.worker.hostname]
        result.revoke()
        return [shown(each["request"]) for each in scheduled if each["request"]["id"] == result.id]

    (request,) = same(scenario).value
    assert request["name"].endswith(".plain.add")


def test_totals_count_by_the_real_name(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        inspect = on.control.inspect(destination=[on.fleet.worker.hostname], timeout=PATIENCE)
        name = on.fleet.project.task("named").name
        before = inspect.stats()[on.fleet.worker.hostname]["total"].get(name, 0)
        on.named.delay().get(timeout=PATIENCE)
        return inspect.stats()[on.fleet.worker.hostname]["total"][name] - before

    assert same(scenario).value == 1
