"""When a crontab is due, found out by looking at every minute: no cron library, and nothing of what is tested."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

#: Clocks are changed by half an hour, an hour and two, at two at night and at midnight, in spring and around Ramadan,
#: and not at all.
ZONES = (
    "Europe/Madrid",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Beirut",
    "America/Havana",
    "Africa/Cairo",
    "Antarctica/Troll",
    "America/Santiago",
    "Asia/Kathmandu",
)
BEGIN, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
_STEP = 15
_Minutes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cron:
    """A crontab: five fields as somebody writes them, and the numbers that they mean, written out by hand."""

    fields: tuple[str, str, str, str, str]
    minutes: frozenset[int]
    hours: frozenset[int] = frozenset(range(24))
    days: frozenset[int] = frozenset(range(1, 32))
    months: frozenset[int] = frozenset(range(1, 13))
    weekdays: frozenset[int] = frozenset(range(7))


def _set(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


CRONS = (
    Cron(("0", "*", "*", "*", "*"), _set(0)),
    Cron(("*/15", "*", "*", "*", "*"), _set(0, 15, 30, 45)),
    Cron(("30", "*", "*", "*", "0"), _set(30), weekdays=_set(0)),
    Cron(("30", "2", "*", "*", "*"), _set(30), _set(2)),
    Cron(("0", "*/2", "*", "*", "*"), _set(0), frozenset(range(0, 24, 2))),
    Cron(("*/20", "2,3", "*", "*", "*"), _set(0, 20, 40), _set(2, 3)),
    Cron(("0", "0", "*", "*", "*"), _set(0), _set(0)),
    Cron(("15", "0", "*", "*", "mon"), _set(15), _set(0), weekdays=_set(1)),
    Cron(("45", "23,0,1", "*", "*", "*"), _set(45), _set(23, 0, 1)),
    Cron(("0", "12", "1-7", "*", "mon"), _set(0), _set(12), frozenset(range(1, 8)), weekdays=_set(1)),
    Cron(("30", "1", "*", "3,10,11", "sun"), _set(30), _set(1), months=_set(3, 10, 11), weekdays=_set(0)),
    Cron(("0", "2", "29", "2", "*"), _set(0), _set(2), _set(29), _set(2)),
)


def due(cron: Cron, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    """Return the ticks from ``begin`` until before ``end``, by the rule that docs/how-to/beat.md states."""
    early = begin - timedelta(days=2)  # what the clock has shown already
    utc = np.arange(_minute(early), _minute(end), dtype=np.int64)
    wall = utc + _offsets(zone, early, end, len(utc))
    if len(cron.hours) == 24:
        found = utc[_matches(cron, wall)]
    else:
        latest = np.maximum.accumulate(wall)
        before = np.concatenate(([wall[0] - 1], latest[:-1]))
        is_first = wall > before
        due_at = set(utc[is_first & _matches(cron, wall)].tolist())
        for index in np.flatnonzero(wall > before + 1):  # minutes that no clock shows
            skipped = np.arange(before[index] + 1, wall[index], dtype=np.int64)
            if _matches(cron, skipped).any():
                due_at.add(int(utc[index]))
        found = np.array(sorted(due_at), dtype=np.int64)
    return [_moment(each) for each in found.tolist() if each >= _minute(begin)]


def changes(zone: str) -> list[datetime]:
    """Return when, to a quarter of an hour, the clock of ``zone`` is changed in these ten years."""
    count = (_minute(END) - _minute(BEGIN)) // _STEP
    info = ZoneInfo(zone)
    moments = [BEGIN + timedelta(minutes=_STEP * index) for index in range(0, count, 8)]
    offsets = [each.astimezone(info).utcoffset() for each in moments]
    return [moments[index] for index in range(1, len(moments)) if offsets[index] != offsets[index - 1]]


def _offsets(zone: str, begin: datetime, end: datetime, count: int) -> _Minutes:
    info = ZoneInfo(zone)
    quarters = range(0, _minute(end) - _minute(begin), _STEP)
    told = [
        (begin + timedelta(minutes=each)).astimezone(info).utcoffset() or timedelta() for each in quarters
    ]
    minutes = np.array([int(each.total_seconds()) // 60 for each in told], dtype=np.int64)
    return np.repeat(minutes, _STEP)[:count]


def _matches(cron: Cron, wall: _Minutes) -> npt.NDArray[np.bool_]:
    dates = wall.astype("datetime64[m]")
    days = dates.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    fields = (
        (wall % 60, cron.minutes),
        (wall // 60 % 24, cron.hours),
        ((days - months.astype("datetime64[D]")).astype(int) + 1, cron.days),
        (months.astype(int) % 12 + 1, cron.months),
        ((days.astype(int) + 4) % 7, cron.weekdays),
    )
    return np.logical_and.reduce([np.isin(values, sorted(allowed)) for values, allowed in fields])


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
