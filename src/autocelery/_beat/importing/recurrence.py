"""Rules of recurrence (RFC 5545, as dateutil reads them), as far as a crontab or an interval says the same.

Redbeat stores their begin with a fixed offset, so that a day always has 24 hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from autocelery.errors import EntryInvalid

YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY, MINUTELY, SECONDLY = range(7)
_SECONDS = {WEEKLY: 604800, DAILY: 86400, HOURLY: 3600, MINUTELY: 60, SECONDLY: 1}
_BY = ("bymonth", "bymonthday", "byweekday", "byhour", "byminute", "bysecond")
_NEVER_HERE = ("bysetpos", "byyearday", "byeaster", "byweekno")
_FARTHEST_WEST, _FARTHEST_EAST = -14, 12


@dataclass(frozen=True, slots=True)
class Recurrence:
    """What a rule is here: a schedule, the zone whose clock it reads, and when it begins and ends."""

    schedule: Mapping[str, Any]
    timezone: str
    starts: str
    ends: str | None


def recurrence_of(rule: Mapping[str, Any]) -> Recurrence:
    """Return what a rule is here.

    Args:
        rule: as redbeat stores it: the arguments of dateutil's ``rrule``, moments as seconds since the epoch.

    Raises:
        EntryInvalid: there is nothing here that is due at the same times.
    """
    rest = [name for name in _NEVER_HERE if _numbers(rule.get(name))]
    if rest:
        raise EntryInvalid(f"has {', '.join(rest)}, for which there is nothing here")
    frequency, interval = int(rule["freq"]), int(rule.get("interval") or 1)
    begin = _moment(rule, "dtstart")
    if begin is None or frequency not in range(7) or interval < 1:
        raise EntryInvalid("lacks its begin, or has a frequency that is none")
    until = _moment(rule, "until")
    by = {name: _numbers(rule.get(name)) for name in _BY}
    if frequency in _SECONDS and not any(by.values()):
        return _interval(timedelta(seconds=_SECONDS[frequency] * interval), begin, until, rule.get("count"))
    if rule.get("count") is not None:
        raise EntryInvalid("has a count, which here only an interval can have; give it an end")
    spec, starts = _crontab(frequency, interval, begin, by), begin.astimezone(UTC)
    return Recurrence(spec, _zone_of(begin), starts.isoformat(), until.isoformat() if until else None)


def _interval(every: timedelta, begin: datetime, until: datetime | None, count: object) -> Recurrence:
    ends = [until] if until else []
    if count is not None:
        if int(str(count)) < 1:
            raise EntryInvalid("has a count of 0: it is never due")
        ends.append(begin.astimezone(UTC) + every * (int(str(count)) - 1))
    last = min(ends).isoformat() if ends else None
    spec = {"kind": "interval", "seconds": every.total_seconds()}
    return Recurrence(spec, "UTC", begin.astimezone(UTC).isoformat(), last)


def _crontab(frequency: int, interval: int, begin: datetime, by: dict[str, list[int]]) -> dict[str, Any]:
    """Return a crontab; what a rule leaves open it takes from its begin, down from its frequency."""
    months = by["bymonth"]
    if frequency == MONTHLY and interval > 1 and 12 % interval == 0 and not months:
        months = sorted((begin.month - 1 + interval * step) % 12 + 1 for step in range(12 // interval))
        interval = 1
    if interval > 1:
        raise EntryInvalid(f"takes each {interval}th of something that a crontab has no word for")
    has_days = bool(by["bymonthday"] or by["byweekday"])
    if frequency == YEARLY and not has_days:
        months = months or [begin.month]
    days = by["bymonthday"] or ([begin.day] if frequency <= MONTHLY and not has_days else [])
    weekdays = [(each + 1) % 7 for each in by["byweekday"]]
    if frequency == WEEKLY and not has_days:
        weekdays = [begin.isoweekday() % 7]
    if any(not 1 <= each <= 31 for each in days) or any(not 0 <= each <= 6 for each in weekdays):
        raise EntryInvalid("counts days from the end of the month, which a crontab does not")
    seconds = by["bysecond"] or ([begin.second] if frequency < SECONDLY else [])
    if seconds != [0]:
        raise EntryInvalid(
            "is not due at the full minute, as a crontab always is; set bysecond to 0 there, or use seconds"
        )
    return {
        "kind": "crontab",
        "minute": _listed(by["byminute"] or ([begin.minute] if frequency < MINUTELY else [])),
        "hour": _listed(by["byhour"] or ([begin.hour] if frequency < HOURLY else [])),
        "day_of_month": _listed(days),
        "month_of_year": _listed(months),
        "day_of_week": _listed(sorted(set(weekdays))),
    }


def _listed(numbers: list[int]) -> str:
    return ",".join(map(str, numbers)) or "*"


def _numbers(told: Any) -> list[int]:
    """Return what a part of a rule names; a weekday is an object of its own where it was one of dateutil's."""
    if told is None:
        return []
    several = told if isinstance(told, list | tuple) else [told]
    return [int(each["wkday"]) if isinstance(each, Mapping) else int(each) for each in several]


def _moment(rule: Mapping[str, Any], name: str) -> datetime | None:
    if rule.get(name) is None:
        return None
    offset = timezone(timedelta(minutes=float(rule.get(f"{name}_tz") or 0)))
    return datetime.fromtimestamp(float(rule[name]), offset)


def _zone_of(begin: datetime) -> str:
    """Return the IANA's name of a fixed offset; its sign is the other way round."""
    offset = begin.utcoffset() or timedelta()
    hours = offset / timedelta(hours=1)
    if not hours:
        return "UTC"
    if hours != int(hours) or not _FARTHEST_WEST <= -hours <= _FARTHEST_EAST:
        raise EntryInvalid(f"begins at an offset of {offset}, for which there is no zone")
    return f"Etc/GMT{int(-hours):+d}"
