"""What a call returns, and what is known of it while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests import since
from tests.integration.conformance.fleets import Caller
from tests.integration.conformance.records import Record

Same = Callable[..., Record]


@pytest.mark.reduced
def test_a_value_comes_back(same: Same) -> None:
    record = same(lambda on: on.add.delay(2, y=3))
    assert record.value == ("SUCCESS", 5)
    assert record.call("add").event_types() == ["sent", "received", "started", "succeeded"]
    assert record.call("add").steps() == ["task_received", "task_prerun", "task_success", "task_postrun"]


@pytest.mark.reduced
def test_arguments_and_values_of_every_kind_come_back_as_the_serializer_gives_them(same: Same) -> None:
    given = [None, True, 1.5, "ünïcødé ☃", {"deep": [{"er": []}]}, "x" * 100_000]
    record = same(lambda on: on.echo.delay(*given, named=given[:4], empty={}))
    assert record.value[0] == "SUCCESS"


def test_a_task_that_returns_nothing_returns_none(same: Same) -> None:
    assert same(lambda on: on.called.delay("x")).value == ("SUCCESS", ("x", ()))
    assert same(lambda on: on.new_errback.delay({}, "exc", None)).value[0] == "FAILURE"


def test_wrong_arguments_are_refused_before_anything_is_sent(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        with pytest.raises(TypeError) as caught:
            on.add.delay(1, 2, 3, 4)
        return str(caught.value)

    assert same(scenario).calls == ()


def test_pickled_arguments_of_a_class_of_the_project_arrive(same: Same) -> None:
    def scenario(on: Caller) -> None:
        point = on.fleet.project.module("plain").Point(1, 2)
        # With result_extended the result would hold the arguments too, and JSON does not take them.
        on.mirrored.apply_async((point,), ignore_result=True)

    assert same(scenario).call("mirrored").step("task_success").endswith("Point(2, 1)")


def test_serializer_and_compression_of_a_call_are_obeyed(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return [
            on.echo.apply_async(((1, 2),), serializer="pickle", compression="zlib"),
            on.echo.apply_async(({"a": 1},), compression="bzip2"),
        ]

    assert [state for state, _ in same(scenario).value] == ["SUCCESS", "SUCCESS"]


def test_a_result_that_is_ignored_is_not_stored(same: Same) -> None:
    def scenario(on: Caller) -> None:
        on.forgotten.delay(1)
        on.add.apply_async((1, 1), ignore_result=True)
        on.forgotten.apply_async((2,), ignore_result=False)

    record = same(scenario)
    asked_for = "SUCCESS" if since.CALLS_DECIDE_ON_THEIR_RESULTS else "PENDING"
    assert [call.meta("status") for call in record.named("forgotten")] == ["PENDING", asked_for]
    assert record.call("add").meta("status") == "PENDING"
    assert record.call("add").event_types()[-1] == "succeeded"


@pytest.mark.without("rpc")
@pytest.mark.reduced
def test_progress_is_seen_by_the_caller(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        result = on.progressing.delay(9)
        on.recording.wait_at_gate(result.id)
        seen = (result.state, result.info)
        on.recording.open_gate(result.id)
        return [seen, result]

    assert same(scenario).value == (("PROGRESS", {"done": 1, "of": 9}), ("SUCCESS", 9))


def test_a_tracked_task_is_seen_to_have_started(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        result = on.started.delay()
        on.recording.wait_at_gate(result.id)
        seen = (result.state, sorted(result.info), result.info["hostname"])
        on.recording.open_gate(result.id)
        return [seen, result]

    (state, fields, _), outcome = same(scenario).value
    assert (state, fields, outcome) == ("STARTED", ("hostname", "pid"), ("SUCCESS", "ended"))


def test_extended_results_name_the_task_and_its_arguments(same: Same) -> None:
    call = same(lambda on: on.add.delay(2, y=3)).call("add")
    assert call.meta("name") == call.name
    assert call.meta("args") == "[2]"
    assert call.meta("kwargs") == "{'y': 3}"
    assert call.meta("retries") == "0"


def test_a_class_based_task_and_one_with_a_name_of_its_own_run(same: Same) -> None:
    record = same(lambda on: [on.counted.delay(3), on.named.delay()])
    assert record.value == (("SUCCESS", (0, 1, 2)), ("SUCCESS", "named"))


def test_events_of_the_task_itself_are_sent(same: Same) -> None:
    record = same(lambda on: on.announcing.delay())
    assert "custom" in record.call("announcing").event_types()


@pytest.mark.reduced
def test_many_calls_at_once_each_get_their_own_answer(same: Same) -> None:
    record = same(lambda on: [on.add.delay(n, 1000) for n in range(20)])
    assert record.value == tuple(("SUCCESS", n + 1000) for n in range(20))
