"""Chains, groups, chords and their compositions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group

from tests import since
from tests.integration.conformance.fleets import Caller
from tests.integration.conformance.records import Record, only_the_value, seen_alike, whoever_was_last

Same = Callable[..., Record]


@pytest.mark.reduced
def test_a_chain_hands_each_result_on(same: Same) -> None:
    record = same(lambda on: (on.add.s(1, 2) | on.multiply.s(10) | on.add.s(5))())
    assert record.value == ("SUCCESS", 35)
    assert record.call("multiply").root == "add(1, 2){}"


@pytest.mark.reduced
def test_a_chain_ends_where_a_task_fails(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        last = (on.add.s(1, 2) | on.fails.si("half way") | on.multiply.s(2))()
        return [last, last.parent, last.parent.parent]

    record = same(scenario)
    assert record.value[0][0] == record.value[1][0] == "FAILURE"
    assert record.value[2] == ("SUCCESS", 3)


@pytest.mark.reduced
def test_a_group_gives_its_results_in_order(same: Same) -> None:
    record = same(lambda on: group(on.add.s(n, n) for n in range(8))())
    assert record.value == tuple(("SUCCESS", 2 * n) for n in range(8))


def test_groups_nest(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        inner = group(on.add.s(n, 1) for n in range(2))
        return group(inner, on.add.s(5, 5), group(inner.clone(), on.multiply.s(2, 2)))()

    assert same(scenario).value.count(("SUCCESS", 1)) == 2


@pytest.mark.without("rpc")
@pytest.mark.reduced
def test_a_chord_gives_its_body_the_results_in_order(same: Same) -> None:
    record = same(
        lambda on: chord([on.echo.s(n) for n in range(5)])(on.echo.s()),
        apart_from=whoever_was_last,
    )
    assert record.value == ("SUCCESS", ((tuple(((n,), {}) for n in range(5)),), {}))


def test_a_chord_in_a_chain_hands_its_result_on(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chain(on.add.s(1, 1), group(on.add.s(n) for n in range(3)), on.total.s(), on.multiply.s(10))()

    assert same(scenario, apart_from=whoever_was_last).value == ("SUCCESS", 90)


def test_a_chain_in_a_chord_counts_as_one(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chord([on.add.s(1, 1) | on.multiply.s(2), on.add.s(3, 3)])(on.total.s())

    assert same(scenario, apart_from=whoever_was_last).value == ("SUCCESS", 10)


def test_a_chord_of_chords_completes(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        inner = [chord([on.add.s(n, 1), on.add.s(n, 2)], on.total.s()) for n in range(2)]
        return chord(inner)(on.total.s())

    assert same(scenario, apart_from=whoever_was_last).value == ("SUCCESS", 8)


def test_a_chord_whose_header_fails_fails(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chord([on.add.s(1, 1), on.refuses.s()])(on.total.s())

    record = same(scenario, apart_from=whoever_was_last)
    assert record.value[0] == "FAILURE"
    assert len(record.calls) == 2


def test_a_failing_chord_fails_the_chain_around_it(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        last = chain(
            on.add.s(1, 1), group(on.add.s(1), on.fails.si("header")), on.total.s(), on.multiply.s(2)
        )()
        return [last if since.CHAINS_FAIL_WITH_THEIR_CHORDS else last.parent.parent[1]]

    ((state, _),) = same(scenario, apart_from=whoever_was_last).value
    assert state == "FAILURE"


def test_a_chord_with_a_chain_as_body_runs_it_to_its_end(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chord([on.add.s(1, 1), on.add.s(2, 2)])(on.total.s() | on.multiply.s(3))

    assert same(scenario, apart_from=whoever_was_last).value == ("SUCCESS", 18)


def test_a_group_after_a_group_becomes_chords(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chain(group(on.add.s(1, 1), on.add.s(2, 2)), group(on.total.s(), on.echo.s()))()

    assert same(scenario, apart_from=whoever_was_last).value[0] == ("SUCCESS", 6)


def test_map_starmap_and_chunks_run_as_documented(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return [
            on.total.map([[1, 2], [3, 4]]).apply_async(),
            on.add.starmap([(1, 2), (3, 4)]).apply_async(),
            on.add.chunks([(n, n) for n in range(5)], 2).apply_async(),
        ]

    mapped, starred, chunked = same(scenario).value
    assert mapped == starred == ("SUCCESS", (3, 7))
    assert [result for _, result in chunked] == [(0, 2), (4, 6), (8,)]


def test_a_signature_keeps_its_options(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        queue = f"{on.fleet.app.conf.task_default_queue}-routed"
        signature = on.seen.s().set(queue=queue, priority=4, headers={"color": "red"})
        return on.fleet.app.signature(dict(signature.clone())).apply_async()

    _, fields = same(scenario, apart_from=seen_alike).value
    assert "'priority': 4" in fields["delivery_info"]


@pytest.mark.parametrize("kind", ["task", "chain", "chord", "failure"])
def test_a_task_that_is_replaced_returns_what_replaced_it(same: Same, kind: str) -> None:
    arguments = {"task": (1,), "chain": (1,), "chord": ([1, 2],), "failure": ()}[kind]
    record = same(lambda on: getattr(on, f"becomes_a_{kind}").delay(*arguments), apart_from=whoever_was_last)
    expected = {
        "task": ("SUCCESS", 11),
        "chain": ("SUCCESS", 22),
        "chord": ("SUCCESS", 23),
        "failure": ("FAILURE", "builtins.ValueError('replaced', 42)"),
    }
    assert record.value == expected[kind]


def test_a_task_that_is_replaced_by_a_group_returns_all_results(same: Same) -> None:
    record = same(lambda on: on.becomes_a_group.delay([1, 2]), apart_from=whoever_was_last)
    assert record.value == ("SUCCESS", (11, 12))


def test_a_task_may_replace_itself_again_and_again(same: Same) -> None:
    assert same(lambda on: on.becomes_itself.delay(3)).value == ("SUCCESS", 3)


def test_replaced_tasks_keep_their_place_in_chains_groups_and_chords(same: Same) -> None:
    numbers = [1, 2] if since.GROUPS_IN_CHORDS_KEEP_THEIR_ORDER else [1, 1]

    def scenario(on: Caller) -> Any:
        return [
            chain(on.becomes_a_task.s(1), on.multiply.s(2)).apply_async(link_error=on.new_errback.s()),
            group(on.becomes_a_chain.s(1), on.add.s(1, 1))(),
            chord([on.becomes_a_task.s(1), on.becomes_a_group.s(numbers)])(on.echo.s()),
        ]

    chained, grouped, chorded = same(scenario, apart_from=whoever_was_last).value
    assert chained == ("SUCCESS", 22)
    assert grouped == (("SUCCESS", 22), ("SUCCESS", 2))
    assert chorded == ("SUCCESS", (((11, tuple(n + 10 for n in numbers)),), {}))


def test_a_task_may_add_another_to_its_chord(same: Same) -> None:
    def scenario(on: Caller) -> Any:
        return chord([on.adds_to_its_chord.s(1), on.add.s(2, 0)])(on.total.s())

    # Where the added one's result comes in the list is an accident.
    assert same(scenario, apart_from=only_the_value).value == ("SUCCESS", 104)


@pytest.mark.reduced
def test_a_task_that_sends_others_sends_them_the_same_way(same: Same) -> None:
    record = same(lambda on: [on.sends_another.delay(1), on.sends_by_name.delay(5)])
    assert [each.args for each in record.named("add")] == ["(1, 1) {}", "(5, 1) {}"]
    assert record.named("add")[0].parent == "sends_another(1,){}"


def test_a_tree_of_calls_grows_to_its_leaves(same: Same) -> None:
    assert len(same(lambda on: on.sends_a_tree.delay(3)).calls) == 15


def test_a_task_may_send_a_canvas_of_its_own(same: Same) -> None:
    record = same(
        lambda on: [on.sends_a_chord.delay([1, 2, 3]), on.sends_a_chain.delay(4)],
        apart_from=whoever_was_last,
    )
    assert record.call("total").step("task_success").endswith(" 9")
    assert record.call("multiply").step("task_success").endswith(" 10")


@pytest.mark.pools("prefork", "threads")
def test_a_task_may_wait_for_another_where_it_says_so(same: Same) -> None:
    """The solo pool has nobody who would run the other."""
    assert same(lambda on: on.joins.delay(1)).value == ("SUCCESS", 2)


def test_a_task_that_waits_for_another_without_saying_so_is_refused(same: Same) -> None:
    record = same(lambda on: on.joins_without_asking.delay(1))
    assert record.value[0] == "FAILURE"
    assert "Never call result.get() within a task" in record.value[1]


def test_tasks_called_directly_run_in_place(same: Same) -> None:
    record = same(lambda on: on.calls_directly.delay(1))
    assert record.value == ("SUCCESS", (2, 3, 4))
