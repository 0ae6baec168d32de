"""Rules of recurrence that redbeat has: imported, they are due when dateutil says so, or they are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrule
from hypothesis import event, given, settings
from hypothesis import strategies as st

from autocelery._beat.importing.recurrence import recurrence_of
from autocelery._beat.kinds import Ticks, moment_of, ticks_of
from autocelery.errors import EntryInvalid

COUNTED = 25


def of_dateutil(told: dict[str, Any]) -> list[datetime]:
    """Return the first times of a rule, as redbeat reads and dateutil counts them."""
    rest = dict(told)
    for name in ("dtstart", "until"):
        offset = timezone(timedelta(minutes=rest.pop(f"{name}_tz", 0)))
        if rest.get(name) is not None:
            rest[name] = datetime.fromtimestamp(rest[name], offset)
    found = []
    for each in rrule(**rest):
        found.append(each.astimezone(UTC))
        if len(found) == COUNTED:
            break
    return found


def of_import(told: dict[str, Any]) -> list[datetime]:
    """Return the first times of what it is imported as."""
    made = recurrence_of(told)
    zone = ZoneInfo(made.timezone)
    starts = moment_of(made.starts, zone)
    last = moment_of(made.ends, zone) if made.ends else None
    ticks = ticks_of(made.schedule, zone, starts)
    assert isinstance(ticks, Ticks)
    tick, found = ticks.after(starts - timedelta(microseconds=1)), []
    while tick is not None and len(found) < COUNTED and (last is None or tick <= last):
        found.append(tick)
        tick = ticks.after(tick)
    return found


def numbers(lowest: int, highest: int) -> st.SearchStrategy[list[int] | int | None]:
    several = st.lists(st.integers(lowest, highest), min_size=1, max_size=3, unique=True).map(sorted)
    return st.none() | st.none() | several | st.integers(lowest, highest)


BEGINS = st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 31)).map(
    lambda each: each.replace(microsecond=0)
)
RULES = st.fixed_dictionaries(
    {
        "freq": st.integers(0, 6),
        "interval": st.sampled_from([1, 1, 1, 2, 3, 5]),
        "dtstart": st.tuples(BEGINS, st.booleans()).map(
            lambda told: int(
                (told[0].replace(second=0) if told[1] else told[0]).replace(tzinfo=UTC).timestamp()
            )
        ),
        "dtstart_tz": st.sampled_from([0, 0, 60, -300, 330]),
        "count": st.none() | st.none() | st.integers(1, 9),
        "until": st.none() | st.integers(1_735_000_000, 1_800_000_000),
        "until_tz": st.sampled_from([0, 60]),
        "bymonth": numbers(1, 12),
        "bymonthday": numbers(1, 28),
        "byweekday": numbers(0, 6),
        "byhour": numbers(0, 23),
        "byminute": numbers(0, 59),
        "bysecond": st.sampled_from([None, None, 0, [0], 30]),
    }
)


@pytest.mark.filterwarnings("ignore:Using both 'count' and 'until'")
@settings(max_examples=300)
@given(RULES)
def test_an_imported_rule_is_due_when_dateutil_says_so(told: dict[str, Any]) -> None:
    try:
        ours = of_import(told)
    except EntryInvalid:
        event("refused")
        return
    event("imported")
    theirs = of_dateutil(told)
    assert ours == theirs[: len(ours)]
    if told["until"] is not None or told["count"] is not None:
        assert ours == theirs
    else:
        assert len(ours) == COUNTED or len(ours) == len(theirs)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"bysetpos": -1}, "bysetpos"),
        ({"byeaster": 0}, "byeaster"),
        ({"byhour": [3], "count": 4}, "count"),
        ({"freq": 1, "bymonthday": [-1]}, "from the end of the month"),
        ({"freq": 1, "interval": 5}, "each 5th"),
        ({"byhour": [3], "dtstart": 1_735_000_001}, "full minute"),
        ({"byhour": [3], "dtstart_tz": 330}, "no zone"),
        ({"freq": 3, "count": 0}, "never due"),
        ({"freq": 9}, "none"),
        ({"dtstart": None}, "begin"),
    ],
)
def test_what_nothing_here_says_is_refused_with_the_reason(told: dict[str, Any], why: str) -> None:
    rule = {"freq": 3, "dtstart": 1_735_000_020, **told}
    with pytest.raises(EntryInvalid, match=why):
        recurrence_of(rule)
