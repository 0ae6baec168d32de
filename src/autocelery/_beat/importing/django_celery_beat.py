"""The periodic tasks of django-celery-beat, in the words of this schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

from autocelery._beat.definition import Definition
from autocelery._beat.importing import django_tables
from autocelery._beat.importing.bringing import PERIODIC_TASK_NAME
from autocelery._beat.importing.django_tables import Row
from autocelery._beat.importing.found import (
    Found,
    found,
    json_of,
    listed,
    mapped,
    moment_of,
    reading,
    text_of,
    whole,
)
from autocelery.errors import EntryInvalid

#: In the order in which django-celery-beat looks at them.
_KINDS = ("interval", "crontab", "solar", "clocked")
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_SECONDS = {"days": 86400.0, "hours": 3600.0, "minutes": 60.0, "seconds": 1.0, "microseconds": 1e-6}


def read(url: str, timezone: str, stored_in: tzinfo) -> list[Found]:
    """Return what the tables of a Django project have.

    Args:
        url: of its database, as SQLAlchemy writes it.
        timezone: of entries that name none: that of the app.
        stored_in: the zone of moments in a database that stores none with them.

    Raises:
        BeatSourceUnavailable: the database cannot be read, or has no such tables.
    """
    rows = django_tables.read(url)
    schedules = {kind: {each["id"]: each for each in rows[f"{kind}schedule"]} for kind in _KINDS}
    return [_Task(each, schedules, timezone, stored_in).found() for each in rows["periodictask"]]


@dataclass(frozen=True, slots=True)
class _Task:
    """A row of the periodic tasks, with the rows of schedules by kind and id."""

    row: Row
    schedules: Mapping[str, Mapping[Any, Row]]
    timezone: str
    stored_in: tzinfo

    def found(self) -> Found:
        name = self.row["name"]
        key = name if isinstance(name, str) and name else f"row {self.row['id']}"
        return found(key, partial(self._read, key))

    def _read(self, key: str) -> Found:
        if key != self.row["name"]:
            raise EntryInvalid("it has no name")
        kind, schedule = self._schedule()
        spec, timezone = self._spec(kind, schedule)
        starts, expires = self._moment("start_time"), self._moment("expires")
        with reading("args"):
            args = listed(json_of(self.row.get("args")))
        with reading("kwargs"):
            kwargs = mapped(json_of(self.row.get("kwargs")))
        definition = Definition(
            task=text_of(self.row["task"]),
            schedule=spec,
            args=args,
            kwargs=dict(kwargs),
            options=self._options(expires),
            timezone=timezone,
            enabled=self._is("enabled"),
            starts=starts.isoformat() if starts else None,
            ends=expires.isoformat() if expires else None,
            max_runs=1 if self._is("one_off") else None,
        )
        with reading("total_run_count"):
            runs = max(0, whole(self.row.get("total_run_count") or 0))
        last = self._moment("last_run_at")
        return Found(key, definition, None, tuple(self._notes(kind, starts, last)), last, runs)

    def _schedule(self) -> tuple[str, Row]:
        set_ = [kind for kind in _KINDS if self.row.get(f"{kind}_id") is not None]
        if not set_:
            raise EntryInvalid("it has no schedule")
        kind, number = set_[0], self.row[f"{set_[0]}_id"]
        if number not in self.schedules[kind]:
            raise EntryInvalid(f"its {kind} schedule {number} is not there")
        return kind, self.schedules[kind][number]

    def _spec(self, kind: str, row: Row) -> tuple[dict[str, Any], str]:
        with reading(f"{kind} schedule"):
            if kind == "interval":
                return _interval(row), self.timezone
            if kind == "crontab":
                fields = {name: text_of(row[name]).replace(" ", "") for name in _FIELDS}
                return {"kind": "crontab", **fields}, str(row.get("timezone") or self.timezone)
            if kind == "solar":
                place = {"lat": float(row["latitude"]), "lon": float(row["longitude"])}
                return {"kind": "solar", "event": text_of(row["event"]), **place}, self.timezone
            at = moment_of(row["clocked_time"], self.stored_in)
            if at is None:
                raise EntryInvalid("names no moment")
            return {"kind": "once", "at": at.isoformat()}, self.timezone

    def _options(self, expires: datetime | None) -> dict[str, Any]:
        with reading("queue, exchange or routing key"):
            options: dict[str, Any] = {
                name: text_of(self.row.get(name)) for name in ("queue", "exchange", "routing_key")
            }
        with reading("priority"):
            options["priority"] = None if self.row.get("priority") is None else whole(self.row["priority"])
        with reading("expire_seconds"):
            options["expires"] = expires or whole(self.row.get("expire_seconds") or 0) or None
        with reading("headers"):
            headers = mapped(json_of(self.row.get("headers")))
        options["headers"] = {**headers, PERIODIC_TASK_NAME: self.row["name"]}
        return {name: value for name, value in options.items() if value not in (None, "")}

    def _moment(self, name: str) -> datetime | None:
        with reading(name):
            return moment_of(self.row.get(name), self.stored_in)

    def _is(self, name: str) -> bool:
        with reading(name):
            told = self.row.get(name) or 0
            if told not in (0, 1):
                raise EntryInvalid(f"is {told!r}, neither true nor false")
            return bool(told)

    def _notes(self, kind: str, starts: datetime | None, last: datetime | None) -> list[str]:
        others = [each for each in _KINDS if each != kind and self.row.get(f"{each}_id") is not None]
        notes = [f"it has {' and '.join(others)} too; {kind} counts, as it did there"] if others else []
        if starts and kind == "interval" and last and last >= starts:
            notes.append(
                f"it is counted from its start, {starts.isoformat(sep=' ')}, and there was counted from its last run"
            )
        if starts and kind in ("crontab", "solar") and not last:
            notes.append(
                "its first tick is the first that its schedule names from its start on; there it was sent at the start"
            )
        if self.row.get("description"):
            notes.append("its description stays behind: there is no place for it here")
        return notes


def _interval(row: Row) -> dict[str, Any]:
    period = row["period"]
    if period not in _SECONDS:
        raise EntryInvalid(f"counts {period!r}; it is one of {', '.join(_SECONDS)}")
    return {"kind": "interval", "seconds": whole(row["every"]) * _SECONDS[period]}
