"""Which ticks are sent: missed ones by their rule, jitter, bounds, and none twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery._beat.definition import Definition, changed, check, decode, id_of, task_id_of
from autocelery._beat.kinds import IntervalTicks
from autocelery._beat.planning import MOST_AT_ONCE, Plan, Planner, latest
from autocelery._beat.store import Entry
from autocelery.errors import EntryInvalid

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PLANNER = Planner({})


def entry(**rules: Any) -> Entry:
    told = check(Definition("proj.add", **{"schedule": {"kind": "interval", "seconds": 60}, **rules}))
    return PLANNER.started(Entry(id_of("a"), "a", told.encode(), "settings"), BEGIN)


def planned(minutes_later: float, **rules: Any) -> Plan:
    return PLANNER.plan(entry(**rules), BEGIN + minutes_later * MINUTE)


def minutes(plan: Plan) -> list[float]:
    return [(each - BEGIN) / MINUTE for each in plan.ticks]


def test_what_is_on_time_is_sent_and_the_next_one_is_known() -> None:
    plan = planned(1.01)
    assert minutes(plan) == [1]
    assert plan.next_tick == BEGIN + 2 * MINUTE
    assert not plan.missed


def test_what_is_late_but_not_missed_is_all_sent_whatever_the_rule() -> None:
    for rule in ("skip", "once", "all"):
        assert minutes(planned(3.5, grace=180, missed=rule)) == [1, 2, 3]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"missed": "skip"}, [100]),
        ({"missed": "once"}, [100]),
        ({"missed": "all"}, list(range(1, 101))),
        ({"missed": "all", "limit": 3}, [97, 98, 99, 100]),
        ({"missed": "skip", "grace": 10}, []),
        ({"missed": "once", "grace": 10}, [100]),
        ({"missed": "all", "limit": 3, "grace": 10}, [98, 99, 100]),
        ({"missed": "all", "limit": 3, "max_runs": 2}, [97, 98]),
        ({"missed": "all", "overlap": False}, [100]),
        ({"missed": "all", "ends": (BEGIN + 2 * MINUTE).isoformat()}, [1, 2]),
    ],
)
def test_missed_ticks_are_sent_by_the_rule_of_their_entry(rules: dict[str, Any], expected: list[int]) -> None:
    plan = planned(100.5, **rules)
    assert minutes(plan) == expected
    assert plan.missed


def test_years_of_missed_ticks_are_found_at_once() -> None:
    asked = 0

    class Counting(IntervalTicks):
        __slots__ = ()

        def after(self, moment: datetime) -> datetime | None:
            nonlocal asked
            asked += 1
            return super().after(moment)

    until = BEGIN + timedelta(days=3650)
    assert latest(Counting(timedelta(seconds=7), BEGIN), BEGIN, until) == BEGIN + (
        until - BEGIN
    ) // timedelta(seconds=7) * timedelta(seconds=7)
    assert asked < 100


@given(every=st.integers(1, 5000), passed=st.integers(0, 10**7), limit=st.integers(1, 50))
def test_all_with_a_limit_are_the_last_ones_in_order(every: int, passed: int, limit: int) -> None:
    made = entry(schedule={"kind": "interval", "seconds": every}, missed="all", limit=limit, grace=0)
    now = BEGIN + timedelta(seconds=passed)
    if made.next_tick is None or made.next_tick > now:
        return
    plan = PLANNER.plan(made, now)
    expected = [BEGIN + timedelta(seconds=every * n) for n in range(1, passed // every + 1)][-limit:]
    assert list(plan.ticks) == expected


def test_a_flood_of_late_ticks_is_sent_in_parts_none_twice_and_none_lost() -> None:
    made = entry(schedule={"kind": "interval", "seconds": 1}, grace=7200)
    now = BEGIN + timedelta(seconds=2500)
    found: list[datetime] = []
    while made.next_fire is not None and made.next_fire <= now:
        plan = PLANNER.plan(made, now)
        assert len(plan.ticks) <= MOST_AT_ONCE
        found += plan.ticks
        made = replace(made, next_tick=plan.next_tick, next_fire=plan.next_fire)
    assert found == [BEGIN + timedelta(seconds=n) for n in range(1, 2501)]


def test_jitter_delays_each_tick_by_the_same_whoever_asks_and_loses_none() -> None:
    made, again = entry(jitter=40), entry(jitter=40)
    assert made.next_fire == again.next_fire
    assert made.next_tick is not None
    assert made.next_fire is not None
    assert timedelta() <= made.next_fire - made.next_tick < timedelta(seconds=40)
    found: list[datetime] = []
    delays = set()
    while len(found) < 50:
        assert made.next_fire is not None
        plan = PLANNER.plan(made, made.next_fire)
        delays.add(made.next_fire - plan.ticks[0])
        found += plan.ticks
        made = replace(made, next_tick=plan.next_tick, next_fire=plan.next_fire)
    assert found == [BEGIN + n * MINUTE for n in range(1, len(found) + 1)]
    assert len(delays) > 40


def test_starts_and_ends_bound_the_ticks_and_both_are_ticks_themselves() -> None:
    made = entry(starts="2026-06-01T05:00:00+00:00", ends="2026-06-01T05:01:00+00:00", grace=600)
    assert made.next_tick == BEGIN + timedelta(hours=5)
    plan = PLANNER.plan(made, BEGIN + timedelta(hours=5, seconds=90))
    assert [each - BEGIN for each in plan.ticks] == [timedelta(hours=5), timedelta(hours=5, minutes=1)]
    assert plan.next_tick is None


def test_after_its_last_run_an_entry_is_not_due_any_more() -> None:
    assert planned(1.5, max_runs=1).next_fire is None
    assert planned(10, schedule={"kind": "once", "at": "2026-06-01T00:09:30"}).next_tick is None


def test_a_clock_that_was_put_back_does_not_make_an_edited_entry_repeat_its_ticks() -> None:
    made = replace(entry(), last_tick=BEGIN + timedelta(hours=1))
    again = PLANNER.started(made, BEGIN)
    assert again.next_tick is not None
    assert again.next_tick > BEGIN + timedelta(hours=1)


def test_an_entry_that_is_enabled_again_makes_up_for_nothing() -> None:
    off = replace(entry(), definition=changed(decode(entry().definition), enabled=False).encode())
    assert PLANNER.started(off, BEGIN).next_fire is None
    later = BEGIN + timedelta(days=3)
    assert PLANNER.started(entry(missed="all"), later).next_tick == later + MINUTE


def test_task_ids_derive_from_entry_and_tick_alone() -> None:
    assert task_id_of(id_of("a"), BEGIN) == task_id_of(id_of("a"), BEGIN.astimezone())
    others = {
        task_id_of(id_of(key), tick) for key in "ab" for tick in (BEGIN, BEGIN + timedelta(microseconds=1))
    }
    assert len(others) == 4


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"args": (object(),)}, "not JSON"),
        ({"kwargs": {"f": print}}, "not JSON"),
        ({"timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"missed": "never"}, "missed is 'never'"),
        ({"jitter": -1}, "jitter is -1"),
        ({"limit": 0}, "limit is 0"),
        ({"options": {"task_id": "x"}}, "beat's own"),
        ({"starts": "soon"}, "ISO 8601"),
        ({"starts": "2026-02-02", "ends": "2026-02-01"}, "before it starts"),
        (
            {"schedule": {"kind": "crontab", "day_of_month": "29", "month_of_year": "2", "day_of_week": "8"}},
            "cannot be read",
        ),
    ],
)
def test_a_definition_that_makes_no_sense_says_why(rules: dict[str, Any], says: str) -> None:
    with pytest.raises(EntryInvalid, match=says):
        entry(**rules)


@pytest.mark.parametrize("limit", [100, 2500, 10_000])
@pytest.mark.parametrize("schedule", [{"kind": "interval", "seconds": 60}, {"kind": "crontab"}])
def test_many_missed_ticks_are_sent_some_at_a_time_and_none_is_left_out(
    limit: int, schedule: dict[str, Any]
) -> None:
    now = BEGIN + 4000.5 * MINUTE
    each, sent = entry(schedule=schedule, missed="all", limit=limit), []
    while each.next_tick is not None and each.next_tick <= now:
        plan = PLANNER.plan(each, now)
        assert 0 < len(plan.ticks) <= MOST_AT_ONCE
        sent += minutes(plan)
        each = replace(each, next_tick=plan.next_tick, runs=each.runs + len(plan.ticks))
        now += timedelta(seconds=1)
    first = max(1, 4000 - limit)  # the last one is not missed yet
    assert sent == list(range(first, 4001))


def test_what_was_missed_before_an_entry_ended_is_sent_by_its_rule() -> None:
    ends = (BEGIN + 2 * MINUTE).isoformat()
    assert minutes(planned(100.5, missed="once", grace=10, ends=ends)) == [2]
    assert minutes(planned(100.5, missed="skip", grace=10, ends=ends)) == []
