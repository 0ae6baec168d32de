"""When a crontab is due, with one rule for the days on which clocks are changed.

A crontab that names hours is read off the wall clock, and each time that it names is one tick: in the hour that is
repeated it is the first of the two, in the hour that is skipped it is the moment at which that hour would have begun.
A crontab of every hour follows elapsed time, so that it is due in each hour of a day of 25, and of 23.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

_EVERY_HOUR = frozenset(range(24))
_SECOND, _MINUTE, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@dataclass(frozen=True)
class CronTicks:
    """The ticks of a crontab; days of the month and of the week have to match both, as Celery has it.

    Args:
        minutes: of the hour, 0 to 59.
        hours: of the day, 0 to 23.
        days: of the month, 1 to 31.
        months: of the year, 1 to 12.
        weekdays: 0 (Sunday) to 6.
        zone: whose clock is read.
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick after ``moment``, in UTC; ``None`` if there is none in fifty years."""
        if self.hours == _EVERY_HOUR:
            return self._after_elapsed(moment.astimezone(UTC))
        for wall in self._walls(_wall(moment, self.zone)):
            tick = instant_of(wall, self.zone)
            if tick > moment:
                return tick
        return None

    def _after_elapsed(self, moment: datetime) -> datetime | None:
        """Go from one change of the clock to the next: in between, wall time passes as time does."""
        wall, since = _wall(moment, self.zone), moment
        while True:
            following = next(self._walls(wall), None)
            if following is None:
                return None
            tick = moment.replace(microsecond=0) + (following - wall.replace(microsecond=0))
            change = first_change(since, tick, self.zone)
            if change is None:
                return tick
            moment, wall, since = change - _SECOND, _wall(change, self.zone) - _SECOND, change

    def _walls(self, after: datetime) -> CronSim:
        ticks = copy.copy(_parsed(self._expression))
        ticks.dt = after.replace(microsecond=0)
        return ticks

    @cached_property
    def _expression(self) -> str:
        hours = "*" if self.hours == _EVERY_HOUR else _listed(self.hours)
        rest = " ".join(map(_listed, (self.days, self.months, self.weekdays)))
        return f"{_listed(self.minutes)} {hours} {rest}"


@lru_cache(maxsize=1000)
def _parsed(expression: str) -> CronSim:
    """Return what is copied for each question: reading an expression takes five times as long as its next tick."""
    parsed = CronSim(expression, datetime(2000, 1, 1))
    parsed.day_and = True
    return parsed


def first_change(begin: datetime, end: datetime, zone: ZoneInfo) -> datetime | None:
    """Return when the clock of ``zone`` is first changed after ``begin`` and up to ``end``."""
    begin = begin.replace(microsecond=0)
    offset = begin.astimezone(zone).utcoffset()
    while begin < end:
        until = min(begin + _DAY, end)
        if until.astimezone(zone).utcoffset() != offset:
            while until - begin > _SECOND:
                middle = begin + ((until - begin) // 2 // _SECOND) * _SECOND
                begin, until = (
                    (middle, until) if middle.astimezone(zone).utcoffset() == offset else (begin, middle)
                )
            return until
        begin = until
    return None


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when, in UTC, the clock of ``zone`` first shows ``wall``, or first shows something later."""
    tick = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    while tick.astimezone(zone).replace(tzinfo=None) != wall:
        wall += _MINUTE  # skipped: clocks are changed at whole minutes
        tick = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return tick


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, sorted(numbers)))
