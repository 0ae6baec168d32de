"""When a crontab is due, with one rule for the days on which clocks are changed.

A crontab that names hours is read off the wall clock, and each time that it names is one tick: in the hour that is
repeated it is the first of the two, in the hour that is skipped it is the moment at which that hour would have begun.
A crontab of every hour follows elapsed time, so that it is due in each hour of a day of 25, and of 23.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

from cronsim import CronSim

_EVERY_HOUR = frozenset(range(24))
_MINUTE = timedelta(minutes=1)


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
        local = moment.astimezone(self.zone)
        if self.hours == _EVERY_HOUR:
            found = next(self._from(local), None)
            return found.astimezone(UTC) if found else None
        for wall in self._from(local.replace(tzinfo=None, fold=0)):
            tick = instant_of(wall, self.zone)
            if tick > moment:
                return tick
        return None

    def _from(self, local: datetime) -> CronSim:
        ticks = CronSim(self._expression, local)
        ticks.day_and = True
        return ticks

    @cached_property
    def _expression(self) -> str:
        hours = "*" if self.hours == _EVERY_HOUR else _listed(self.hours)
        rest = " ".join(map(_listed, (self.days, self.months, self.weekdays)))
        return f"{_listed(self.minutes)} {hours} {rest}"


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return when, in UTC, the clock of ``zone`` first shows ``wall``, or first shows something later."""
    tick = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    while tick.astimezone(zone).replace(tzinfo=None) != wall:
        wall += _MINUTE  # skipped: clocks are changed at whole minutes
        tick = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    return tick


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, sorted(numbers)))
