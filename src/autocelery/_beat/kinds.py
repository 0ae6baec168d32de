"""The kinds of schedules: what is stored of each, and when it is due."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

from celery.schedules import crontab

from autocelery._beat.cron import CronTicks
from autocelery._beat.users_classes import Polled, polled
from autocelery.errors import EntryInvalid

#: The shortest interval, in seconds; anything shorter is taken for a mistake.
SHORTEST = 1.0
_LEAP_YEAR = 2024
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


@runtime_checkable
class Ticks(Protocol):
    """When something is due."""

    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick after ``moment``, in UTC; ``None`` if there is none."""


@dataclass(frozen=True, slots=True)
class IntervalTicks:
    """A tick at ``anchor`` and after every ``every`` of elapsed time."""

    every: timedelta
    anchor: datetime

    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick after ``moment``."""
        passed = (moment - self.anchor) // self.every
        return self.anchor + max(0, passed + 1) * self.every


@dataclass(frozen=True, slots=True)
class OneTick:
    """A single tick."""

    at: datetime

    def after(self, moment: datetime) -> datetime | None:
        """Return the tick, if it is after ``moment``."""
        return self.at if self.at > moment else None


def ticks_of(spec: Mapping[str, Any], zone: ZoneInfo, anchor: datetime) -> Ticks | Polled:
    """Return the ticks of a stored schedule.

    Args:
        spec: as it is stored: ``kind``, and what that kind has.
        zone: whose clock is read.
        anchor: what an interval counts from.

    Raises:
        EntryInvalid: it is no schedule, or one that is never due, or due all the time.
    """
    try:
        return _READERS[spec["kind"]](spec, zone, anchor)
    except KeyError as error:
        kinds = ", ".join(sorted(_READERS))
        raise EntryInvalid(
            f"the schedule {dict(spec)} lacks {error}, or its kind is none of {kinds}"
        ) from None
    except EntryInvalid:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise EntryInvalid(f"the schedule {dict(spec)} cannot be read: {error}") from None


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """Return the moment that ``text`` (ISO 8601) names, in UTC; without an offset it is of ``zone``."""
    told = datetime.fromisoformat(text)
    return (told if told.tzinfo else told.replace(tzinfo=zone)).astimezone(UTC)


def _crontab(spec: Mapping[str, Any], zone: ZoneInfo, _anchor: datetime) -> Ticks:
    extra = spec.keys() - {*_FIELDS, "kind"}
    if extra:
        raise EntryInvalid(f"a crontab has no {', '.join(sorted(extra))}: it is due at most once a minute")
    return _cron_ticks(crontab(**{name: spec.get(name, "*") for name in _FIELDS}), zone)


def _cron_ticks(parsed: crontab, zone: ZoneInfo) -> Ticks:
    sets = (parsed.minute, parsed.hour, parsed.day_of_month, parsed.month_of_year, parsed.day_of_week)
    minutes, hours, days, months, weekdays = (frozenset(map(int, each)) for each in sets)
    if min(days) > max(monthrange(_LEAP_YEAR, each)[1] for each in months):  # 5.4 does not
        raise EntryInvalid("its schedule is never due: its months do not have its days")
    return CronTicks(minutes, hours, days, months, weekdays, zone)


def _time_of_day(spec: Mapping[str, Any], zone: ZoneInfo, _anchor: datetime) -> Ticks:
    hour, minute = spec["at"].split(":")
    return _cron_ticks(crontab(int(minute), int(hour), day_of_week=spec.get("days", "*")), zone)


def _interval(spec: Mapping[str, Any], _zone: ZoneInfo, anchor: datetime) -> Ticks:
    seconds = float(spec["seconds"])
    if not seconds >= SHORTEST:
        raise EntryInvalid(
            f"an interval of {seconds:g} seconds would be due all the time; the shortest is {SHORTEST:g}"
        )
    return IntervalTicks(timedelta(seconds=seconds), anchor)


def _once(spec: Mapping[str, Any], zone: ZoneInfo, _anchor: datetime) -> Ticks:
    return OneTick(moment_of(spec["at"], zone))


def _solar(spec: Mapping[str, Any], _zone: ZoneInfo, _anchor: datetime) -> Ticks:
    from autocelery._beat.sun import SolarTicks

    return SolarTicks(spec["event"], float(spec["lat"]), float(spec["lon"]))


def _class(spec: Mapping[str, Any], zone: ZoneInfo, _anchor: datetime) -> Polled:
    return polled(spec, zone)


_READERS: dict[str, Callable[[Mapping[str, Any], ZoneInfo, datetime], Ticks | Polled]] = {
    "class": _class,
    "crontab": _crontab,
    "interval": _interval,
    "once": _once,
    "solar": _solar,
    "time of day": _time_of_day,
}
