"""What a task sees of its own call, and what the options of a call do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.canvas import StampingVisitor

from tests.integration.conformance.fleets import Caller
from tests.integration.conformance.records import Record, only_the_value, seen_alike
from tests.waiting import PATIENCE

Same = Callable[..., Record]


def test_a_task_sees_the_same_request(same: Same) -> None:
    state, fields = same(lambda on: on.seen.delay(1, named=2), apart_from=seen_alike).value
    assert state == "SUCCESS"
    assert fields["args"] == "[1]"
    assert fields["kwargs"] == "{'named': 2}"
    assert fields["headers"] == "{'autocelery_signature': 'seen/1(*args,**kwargs)'}"


def test_a_task_sees_every_option_of_its_call(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return on.seen.apply_async(
            (1,),
            headers={"color": "blue", "count": 3},
            priority=6,
            time_limit=50,
            soft_time_limit=40,
            shadow="shown.as",
            expires=600,
            link=on.add.si(0, 0),
            link_error=[on.old_errback.s(), on.new_errback.s()],
            ignore_result=False,
            argsrepr="(hidden)",
            kwargsrepr="{hidden}",
            correlation_id="mine",
        )

    _, fields = same(scenario, apart_from=seen_alike).value
    assert fields["shadow"] == "'shown.as'"
    assert fields["timelimit"] == "[50, 40]"
    assert "'color': 'blue'" in fields["headers"]


def test_a_task_in_a_chain_a_group_and_a_chord_sees_its_place(same: Same) -> None:
    from celery import chain, chord, group

    def scenario(on: Caller) -> Any:
        chain(on.seen.s(), on.called.si("next")).apply_async()
        return [
            group(on.seen.s(1), on.seen.s(2))(),
            chord([on.seen.s(3)])(on.called.si("body")).parent,
            chain(on.add.s(1, 1), on.seen.s())(),
        ]

    grouped, _, chained = same(scenario, apart_from=seen_alike).value
    assert [fields["group_index"] for _, fields in grouped] == ["0", "1"]
    assert chained[1]["parent_id"] == "'add(1, 1){}'"


def test_a_shadow_is_what_monitors_show(same: Same) -> None:
    call = same(lambda on: on.add.apply_async((1, 1), shadow="shown.as")).call("add")
    received = dict(call.events[1][1])
    assert received["name"] == "shown.as"
    assert all(" Task shown.as[" in each for each in call.logged)


def test_stamps_travel_with_a_canvas(same: Same) -> None:
    class Stamps(StampingVisitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"stamp": "of mine", "stamped_headers": ["stamp"]}

    def scenario(on: Caller) -> Any:
        canvas = on.seen.s(1) | on.called.si("next")
        canvas.stamp(visitor=Stamps())
        alone = on.seen.s(2)
        alone.stamp(color="red")
        return [canvas.apply_async().parent, alone.apply_async()]

    (_, fields), (_, alone) = same(scenario, apart_from=seen_alike).value
    assert alone["stamps"] == "{'color': 'red'}"
    assert fields["stamped_headers"] == "['stamp']"
    assert fields["stamps"] == "{'stamp': 'of mine'}"


def test_a_call_runs_after_its_countdown_and_at_its_time(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        soon = datetime.now(UTC) + timedelta(seconds=0.5)
        return [on.add.apply_async((1, 1), countdown=0.5), on.add.apply_async((2, 2), eta=soon)]

    record = same(scenario)
    assert record.value == (("SUCCESS", 2), ("SUCCESS", 4))
    assert all(dict(each.events[1][1])["eta"] == "True" for each in record.calls)


def test_a_call_that_expired_is_revoked(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        past = datetime.now(UTC) - timedelta(seconds=5)
        return [on.add.apply_async((1, 1), expires=past), on.add.apply_async((2, 2), expires=60)]

    record = same(scenario)
    assert record.value[0] == ("REVOKED", "celery.exceptions.TaskRevokedError('expired',)")
    assert record.value[1] == ("SUCCESS", 4)
    expired = next(each for each in record.calls if each.args == "(1, 1) {}")
    assert expired.event_types() == ["sent", "revoked"]


@pytest.mark.reduced
def test_routes_go_by_the_real_name_of_the_task(same: Same) -> None:
    record = same(lambda on: [on.routed.delay(), on.routed.s().apply_async()])
    assert all(where.endswith("-routed") for _, where in record.value)


def test_a_queue_and_a_priority_of_a_call_are_obeyed(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        queue = f"{on.fleet.app.conf.task_default_queue}-routed"
        return [on.prioritised.apply_async(priority=7), on.seen.apply_async(queue=queue)]

    (_, priority), (_, fields) = same(scenario, apart_from=seen_alike).value
    assert priority == 7
    assert "-routed" in fields["delivery_info"]


def test_a_rate_limit_of_the_task_holds_and_lets_calls_through(same: Same) -> None:
    record = same(lambda on: [on.limited_in_rate.delay(n) for n in range(3)])
    assert record.value == (("SUCCESS", 0), ("SUCCESS", 1), ("SUCCESS", 2))


def test_a_result_is_found_under_the_id_that_the_caller_chose(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        result = on.add.apply_async((1, 1), task_id=f"mine-{on.fleet.prefix}-{on.way}")
        return on.fleet.app.AsyncResult(result.id).get(timeout=PATIENCE)

    assert same(scenario, apart_from=only_the_value).value == 2
