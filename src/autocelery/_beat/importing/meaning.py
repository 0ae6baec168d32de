"""What an entry of Celery's own schedulers means here that it did not mean there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from autocelery._beat.cron import CronTicks, first_change
from autocelery._beat.definition import Definition
from autocelery._beat.kinds import Ticks, ticks_of
from autocelery._beat.store import Entry

_LOOKED_AHEAD = timedelta(days=800)
_MINUTE = timedelta(minutes=1)
#: A tick so many seconds old may be on its way there; one that is older was not sent.
_LATE = timedelta(seconds=60)
_EVERY_HOUR = frozenset(range(24))


def of_clock_changes(definition: Definition, now: datetime) -> Iterable[str]:
    """Yield what happens to a crontab on days on which clocks are changed."""
    if definition.schedule.get("kind") != "crontab":
        return
    ticks = ticks_of(definition.schedule, definition.zone, now)
    assert isinstance(ticks, CronTicks)
    changes = _changes(definition.zone, now.date().isoformat())
    if not changes:
        return
    if ticks.hours == _EVERY_HOUR:
        yield (
            "every hour means every hour that passes: on a day of 25 it is sent in each of them, where Celery leaves "
            "one out"
        )
    elif any(_names(ticks, wall) for begin, end in changes for wall in _minutes(begin, end)):
        yield (
            "a time that daylight saving repeats is sent the first time only, one that it skips when clocks are changed"
        )


def of_time_passed(
    definition: Definition, entry: Entry, last: datetime | None, now: datetime
) -> Iterable[str]:
    """Yield what was due before the import and was not sent: it is not made up for."""
    ended = definition.last is not None and definition.last < now
    if (
        not definition.enabled
        or ended
        or (definition.max_runs is not None and entry.runs >= definition.max_runs)
    ):
        return
    ticks = ticks_of(definition.schedule, definition.zone, entry.anchor or now)
    if not isinstance(ticks, Ticks):
        return
    if last is None and definition.schedule["kind"] != "once":
        return
    tick = ticks.after(last or datetime.min.replace(tzinfo=UTC) + timedelta(days=2))
    if tick is not None and tick <= now - _LATE and (definition.first is None or tick >= definition.first):
        following = f"the next is at {_said(entry.next_tick)}" if entry.next_tick else "there is no other"
        yield f"it was due at {_said(tick)} and was not sent there; it is not made up for, and {following}"


@lru_cache(maxsize=1000)
def _changes(zone: ZoneInfo, day: str) -> tuple[tuple[datetime, datetime], ...]:
    """Return the wall times that ``zone`` skips or repeats from ``day`` on: from, and up to."""
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    end, found = begin + _LOOKED_AHEAD, []
    while (change := first_change(begin, end, zone)) is not None:
        walls = [
            each.astimezone(zone).replace(tzinfo=None) for each in (change - timedelta(seconds=1), change)
        ]
        before, after = walls[0] + timedelta(seconds=1), walls[1]
        found.append((min(before, after), max(before, after)))
        begin = change
    return tuple(found)


def _minutes(begin: datetime, end: datetime) -> Iterable[datetime]:
    while begin < end:
        yield begin
        begin += _MINUTE


def _names(ticks: CronTicks, wall: datetime) -> bool:
    """Whether a crontab names this time, on some day of the month; the days of changes are others each year."""
    weekday = wall.isoweekday() % 7
    return (
        wall.minute in ticks.minutes
        and wall.hour in ticks.hours
        and wall.month in ticks.months
        and weekday in ticks.weekdays
    )


def _said(moment: datetime | None) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="seconds") if moment else "never"
