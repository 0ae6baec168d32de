"""What an eager app gives is what a real worker gives: one suite runs both ways, deployed and live."""

from __future__ import annotations

import datetime
import decimal
import importlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import chain, chord, group
from celery.result import AsyncResult

from autocelery._eager import make_eager
from tests import services
from tests.waiting import PATIENCE, wait_for
from tests.workers import Worker

TEMPLATE = Path(__file__).parents[1] / "projects" / "eager" / "bakery"
PREFIX = f"ac-eager-{os.getpid()}:"


class Caller:
    """How a scenario sends."""

    def __init__(self, tasks: ModuleType, way: str) -> None:
        self.tasks, self.way, self.app = tasks, way, tasks.app

    def __getattr__(self, name: str) -> Any:
        task = getattr(self.tasks, name)
        return task.live if self.way == "live" else task

    def result(self, task_id: str) -> AsyncResult:
        """Return the result with that id."""
        return self.app.AsyncResult(task_id)

    def ended(self, result: AsyncResult) -> AsyncResult:
        """Return ``result`` when it is there, without ``get``."""
        wait_for(result.ready, what=f"{result.id} has ended")
        return result


@pytest.fixture(scope="module")
def tasks(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The project's tasks, imported here, and a worker that has them."""
    folder = tmp_path_factory.mktemp("bakery") / "tree"
    shutil.copytree(TEMPLATE, folder / "bakery", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    environment = {"BAKERY_PREFIX": PREFIX, "BAKERY_REDIS": redis_url, "PYTHONPATH": str(folder)}
    worker = Worker(folder, "bakery.celery", "bakery", "-c", "2", **environment)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("BAKERY_PREFIX", PREFIX)
        patched.setenv("BAKERY_REDIS", redis_url)
        patched.syspath_prepend(folder)
        imported = importlib.import_module("bakery.tasks")
        try:
            worker.start()
            yield imported
        finally:
            worker.stop()
            imported.app.close()
            services.remove_redis_keys(PREFIX)
            for name in [each for each in sys.modules if each.split(".")[0] == "bakery"]:
                del sys.modules[name]


Scenario = Callable[[Caller], Any]


@pytest.fixture(params=["deployed", "live"])
def same(request: pytest.FixtureRequest, tasks: ModuleType) -> Callable[[Scenario], Any]:
    """Run a scenario on the worker, then eagerly with the same app, and return what both gave."""

    def run(scenario: Scenario) -> Any:
        caller = Caller(tasks, request.param)
        real = _outcome(lambda: scenario(caller))
        eager = make_eager(tasks.app, announce=False, in_memory=True)
        try:
            here = _outcome(lambda: scenario(caller))
        finally:
            eager.stop()
        assert here == real
        return real

    return run


def _outcome(scenario: Callable[[], Any]) -> Any:
    """Return what a scenario gave, of results their state and value, of exceptions class and arguments."""
    try:
        return _described(scenario())
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is compared
        return _described(exc)


def _described(value: Any) -> Any:
    if isinstance(value, AsyncResult):
        raised = _outcome(lambda: value.get(timeout=PATIENCE))
        return (value.state, raised)
    if isinstance(value, BaseException):
        return (type(value).__name__, str(value))
    if isinstance(value, list | tuple):
        return [_described(each) for each in value]
    if isinstance(value, dict):
        return {key: _described(each) for key, each in value.items()}
    return value


def test_a_call_gives_its_result(same: Any) -> None:
    assert same(lambda on: on.add.delay(2, b=3)) == ("SUCCESS", 5)


def test_a_result_is_found_by_its_id(same: Any) -> None:
    assert same(lambda on: on.result(on.add.delay(2, 2).id)) == ("SUCCESS", 4)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "one"},
        b"bytes",
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        decimal.Decimal("1.5"),
        uuid.UUID(int=7),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arguments_go_through_the_serializer(same: Any, value: object) -> None:
    same(lambda on: on.kind.delay(value))
    same(lambda on: repr(on.echo.delay(value, key=value).get(timeout=PATIENCE)))


def test_an_argument_that_json_cannot_carry_is_refused_or_attached_alike(same: Any) -> None:
    outcome = same(lambda on: on.kind.delay({1, 2}))
    assert outcome in [
        ("SUCCESS", "builtins.set"),
        ("EncodeError", "Object of type set is not JSON serializable"),
    ]


def test_a_result_that_json_cannot_carry_fails_or_is_attached_alike(same: Any) -> None:
    state, _ = same(lambda on: on.gives_a_set.delay())
    assert state in ("FAILURE", "SUCCESS")


def test_delay_does_not_raise_what_the_task_raises_and_get_does(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        result = on.bake.delay(20)
        on.ended(result)
        return [result.state, "in bake" in result.traceback, result]

    assert same(scenario) == ["FAILURE", True, ("FAILURE", ("OvenCold", "20"))]


def test_wrong_arguments_are_refused_at_the_call(same: Any) -> None:
    same(lambda on: on.bake.delay())


def test_a_task_that_nobody_has_fails(same: Any) -> None:
    state, (kind, _) = same(lambda on: on.app.send_task("bakery.tasks.nobody"))
    assert (state, kind) == ("FAILURE", "NotRegistered")


@pytest.mark.parametrize("tries", [0, 1, 3])
def test_retries(same: Any, tries: int) -> None:
    assert same(lambda on: on.rises.delay(tries)) == ("SUCCESS", tries)


def test_retries_end_with_the_tasks_own_exception(same: Any) -> None:
    assert same(lambda on: on.never_rises.delay()) == ("FAILURE", ("OvenCold", "20"))


def test_retries_that_are_automatic(same: Any) -> None:
    assert same(lambda on: on.warms_up.delay()) == ("SUCCESS", "warm")


def test_what_a_task_sees_of_its_request_and_that_it_must_not_wait_for_another(same: Any) -> None:
    seen = same(lambda on: on.asked.apply_async(headers={"flour": "rye"}).get(timeout=PATIENCE))
    assert seen["will_block"] == "Never call result.get() within a task!"
    assert (seen["called_directly"], seen["is_eager"], seen["is_own_root"]) == (False, False, True)
    assert seen["headers"] == "rye"


def test_chains(same: Any) -> None:
    assert same(lambda on: chain(on.add.s(1, 1), on.add.s(3), on.add.si(5, 5), on.add.s())()) == (
        "SUCCESS",
        11,
    )


def test_a_chain_ends_with_a_failure(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        result = chain(on.add.s(1, 1), on.bake.s(), on.add.s(3))()
        on.ended(result.parent)
        return [result.parent, result.parent.parent]

    assert same(scenario) == [("FAILURE", ("OvenCold", "2")), ("SUCCESS", 2)]


def test_groups(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        return group(on.add.s(each, each) for each in range(4))().get(timeout=PATIENCE)

    assert same(scenario) == [0, 2, 4, 6]


def test_a_group_that_is_empty_and_one_of_one(same: Any) -> None:
    assert same(lambda on: group([])().get(timeout=PATIENCE)) == []
    assert same(lambda on: group([on.add.s(1, 1)])().get(timeout=PATIENCE)) == [2]


def test_chords(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        return chord((on.add.s(each, each) for each in range(4)), on.total.s())()

    assert same(scenario) == ("SUCCESS", 12)


def test_a_chord_whose_header_fails(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        return on.ended(chord([on.add.s(1, 1), on.bake.s(20)], on.total.s())())

    assert same(scenario) == ("FAILURE", ("OvenCold", "20"))


def test_canvas_in_canvas(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        inner = group(chain(on.add.s(1), on.add.s(1)), on.add.s(100))
        return chain(on.add.s(1, 1), inner, on.total.s(), on.add.s(0))()

    assert same(scenario) == ("SUCCESS", 106)


def test_chords_in_chords(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        parts = [chord([on.add.s(1, 1), on.add.s(2, 2)], on.total.s()), on.add.s(10, 10)]
        return chord(parts, on.total.s())()

    assert same(scenario) == ("SUCCESS", 26)


def test_map_starmap_and_chunks(same: Any) -> None:
    assert same(lambda on: on.add.map([1, 2]).delay()) == ("SUCCESS", [2, 3])
    assert same(lambda on: on.add.starmap([(1, 2), (3, 4)]).delay()) == ("SUCCESS", [3, 7])
    chunks: Scenario = lambda on: on.add.chunks([(1, 2), (3, 4), (5, 6)], 2)().get(timeout=PATIENCE)  # noqa: E731
    assert same(chunks) == [[3, 7], [11]]


def test_callbacks_are_children(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        result = on.ended(on.add.apply_async((1, 2), link=[on.add.s(10), on.add.s(20)]))
        (children,) = result.children
        return children.get(timeout=PATIENCE)

    assert same(scenario) == [13, 23]


def test_errbacks(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        result = on.bake.apply_async((20,), link_error=on.old_errback.s())
        key = f"errback-{result.id}"
        wait_for(lambda: on.app.backend.get(key), what="the errback has run")
        said = bytes(on.app.backend.get(key))
        on.app.backend.delete(key)
        return said

    assert same(scenario) == b"old"


def test_a_task_that_others_replace(same: Any) -> None:
    assert same(lambda on: on.hands_over.delay(5)) == ("SUCCESS", 16)
    assert same(lambda on: on.hands_over_to_several.delay([1, 2, 3])) == ("SUCCESS", 9)
    assert same(lambda on: chain(on.hands_over.s(5), on.add.s(1))()) == ("SUCCESS", 17)


def test_a_call_that_a_task_sends(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        return on.result(on.orders.delay(4).get(timeout=PATIENCE))

    assert same(scenario) == ("SUCCESS", 8)


def test_a_state_of_the_tasks_own(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        result = on.says_how_far.delay()
        wait_for(lambda: result.state == "PROGRESS", what="the task has said how far it is")
        return [result.state, result.info]

    assert same(scenario) == ["PROGRESS", {"done": 3}]


def test_a_result_that_is_ignored(same: Any) -> None:
    assert same(lambda on: on.tells_nobody.delay().get(timeout=PATIENCE)) is None


def test_a_call_that_has_expired(same: Any) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    state, (kind, _) = same(lambda on: on.add.apply_async((1, 1), expires=past))
    assert (state, kind) == ("REVOKED", "TaskRevokedError")


def test_what_is_stored_beside_the_result(same: Any) -> None:
    def scenario(on: Caller) -> Any:
        result = on.ended(on.add.delay(1, b=2))
        return [
            result.name.rpartition(".")[2],
            list(result.args),
            result.kwargs,
            result.retries,
            result.queue,
        ]

    assert same(scenario) == ["add", [1], {"b": 2}, 0, "celery"]
