"""What runs after a call: callbacks on success, errbacks of both styles on failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group

from tests import since
from tests.integration.conformance.fleets import Caller
from tests.integration.conformance.records import Record, whoever_was_last

Same = Callable[..., Record]


@pytest.mark.reduced
def test_a_callback_gets_the_result_and_is_a_child_of_the_call(same: Same) -> None:
    record = same(lambda on: on.add.apply_async((1, 2), link=on.multiply.s(10)))
    assert record.value == ("SUCCESS", 3)
    assert record.call("multiply").args == "(3, 10) {}"
    assert record.call("multiply").parent == "add(1, 2){}"


def test_several_callbacks_and_a_group_of_them_all_run(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        callbacks = [on.multiply.s(2), on.multiply.si(3, 4), group(on.add.s(1), on.add.s(2))]
        return on.add.apply_async((1, 1), link=callbacks)

    record = same(scenario)
    assert sorted(each.args for each in record.named("multiply")) == ["(2, 2) {}", "(3, 4) {}"]
    assert len(record.named("add")) == 3


def test_a_callback_is_not_called_after_a_failure(same: Same) -> None:
    record = same(lambda on: on.fails.apply_async(link=on.add.s(1)))
    assert len(record.calls) == 1


def test_an_old_errback_is_called_with_the_id(same: Same) -> None:
    record = same(lambda on: on.fails.apply_async(link_error=on.old_errback.s()))
    assert record.call("old_errback").args.startswith("('fails()")


def test_a_new_errback_is_called_with_the_request_and_the_exception(same: Same) -> None:
    record = same(lambda on: on.refuses.apply_async(link_error=on.new_errback.s()))
    assert len(record.calls) == 1
    assert "Refused('not today', 7) True" in record.call("refuses").step("new_errback")


def test_errbacks_of_every_kind_are_called_for_one_failure(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        errbacks = [
            on.old_errback.s(),
            on.new_errback.s(),
            on.new_errback_with_more.s("more"),
            on.bound_errback.s(),
            on.called.si("immutable"),
        ]
        return on.fails.apply_async(link_error=errbacks)

    record = same(scenario)
    assert {"new_errback", "new_errback_with_more"} <= set(record.call("fails").steps())
    assert len(record.calls) == 4


@pytest.mark.skipif(
    not since.ERRBACKS_FAIL_ALONE,
    reason="this Celery's tracer, and its solo worker, end with the errback: no event tells of an end to compare",
)
def test_an_errback_that_fails_does_not_hide_the_failure(same: Same) -> None:
    errbacks: Callable[[Caller], Any] = lambda on: [on.errback_that_fails.s(), on.old_errback.s()]  # noqa: E731
    record = same(lambda on: on.fails.apply_async(link_error=errbacks(on)))
    assert record.value == ("FAILURE", "builtins.ValueError('broken', 42)")
    assert len(record.named("old_errback")) == 1


def test_a_signature_carries_its_errback(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return on.fails.s("signed").on_error(on.new_errback.s()).apply_async()

    assert "new_errback" in same(scenario).call("fails").steps()


@pytest.mark.reduced
def test_a_chain_calls_its_errback_for_the_task_that_failed(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chain(on.add.s(1, 1), on.fails.si("in a chain"), on.add.s(1)).on_error(on.new_errback.s())()

    record = same(scenario)
    assert record.value == ("FAILURE", "builtins.ValueError('in a chain', 42)")
    assert "new_errback" in record.call("fails").steps()
    assert len(record.calls) == 2


def test_each_task_of_a_group_calls_the_groups_errback(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return group(on.fails.s("a"), on.add.s(1, 1), on.fails.s("b")).on_error(on.new_errback.s())()

    assert sum("new_errback" in each.steps() for each in same(scenario).calls) == 2


def test_a_chord_whose_header_fails_calls_the_errback_of_its_body(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chord([on.add.s(1, 1), on.fails.s("in a header")])(on.total.s().on_error(on.new_errback.s()))

    record = same(scenario, apart_from=whoever_was_last)
    assert record.value[0] == "FAILURE"
    assert record.value[1].startswith("celery.exceptions.ChordError")


def test_a_chord_whose_body_fails_calls_its_errback(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chord([on.add.s(1, 1), on.add.s(2, 2)])(on.fails.si("the body").on_error(on.new_errback.s()))

    record = same(scenario, apart_from=whoever_was_last)
    assert record.value == ("FAILURE", "builtins.ValueError('the body', 42)")
    assert "new_errback" in record.call("fails").steps()


def test_a_callback_of_a_chain_runs_after_its_last_task(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chain(on.add.s(1, 1), on.multiply.s(5)).apply_async(link=on.called.s())

    record = same(scenario)
    assert record.call("called").args.startswith("(10,)")
