"""Changing the schedule by hand, while instances run: they see it within a second."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from celery import Celery

from autocelery._beat.definition import Definition, changed, check, decode, id_of
from autocelery._beat.kinds import Ticks, ticks_of
from autocelery._beat.planning import Planner
from autocelery._beat.store import BeatStore, Edits, Entry
from autocelery.errors import EntryInvalid, EntryNotFound

_NAMES = tuple(each.name for each in fields(Definition))
_TIME = re.compile(r"(\d{1,2}:\d\d)(?: (\S+))?")
_CRON = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def schedule_from(told: object) -> dict[str, Any]:
    """Return how a schedule that a person wrote is stored.

    Args:
        told: seconds; five fields of a crontab; ``02:30`` or ``02:30 mon-fri``; a moment in ISO 8601; or a mapping.

    Raises:
        EntryInvalid: it is none of these.

    >>> schedule_from("*/5 * * * *")["minute"], schedule_from("02:30 mon-fri")["days"], schedule_from(30)["seconds"]
    ('*/5', 'mon-fri', 30.0)
    """
    if isinstance(told, Mapping):
        return dict(told)
    if isinstance(told, int | float) and not isinstance(told, bool):
        return {"kind": "interval", "seconds": float(told)}
    text = str(told).strip()
    parts = text.split()
    if len(parts) == len(_CRON):
        return {"kind": "crontab", **dict(zip(_CRON, parts, strict=True))}
    if len(parts) == len(_CRON) + 1:
        raise EntryInvalid(f"{text!r} has six fields, as if it were due every second; a crontab has five")
    time = _TIME.fullmatch(text)
    if time:
        return {"kind": "time of day", "at": time[1], "days": time[2] or "*"}
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise EntryInvalid(
            f"{text!r} is no schedule. Write seconds, five fields of a crontab, 02:30, 02:30 mon-fri, a moment such as "
            "2027-01-31T09:00, or JSON"
        ) from None
    return {"kind": "once", "at": text}


def edit(store: BeatStore, key: str, changes: Mapping[str, Any], timezone: str) -> Entry:
    """Change an entry, or make one, and return it.

    Args:
        store: the database.
        key: of the entry.
        changes: by the names of `Definition`; a new one needs ``task`` and ``schedule``.
        timezone: of a new one that names none.

    Raises:
        EntryInvalid: a name or a value makes no sense.
    """
    values = _values(changes)
    made: list[Entry] = []

    def change(entries: Mapping[str, Entry], now: datetime) -> Edits:
        before = entries.get(id_of(key))
        try:
            entry = drafted(before, key, values, timezone, now)
        except EntryInvalid as error:
            raise EntryInvalid(f"Entry {key!r} stays as it was: {error.message}.") from None
        made.append(entry)
        return Edits([entry])

    store.edit([id_of(key)], change)
    return made[-1]


def drafted(
    before: Entry | None, key: str, changes: Mapping[str, Any], timezone: str, now: datetime
) -> Entry:
    """Return an entry as `edit` would make it, and store nothing.

    Args:
        before: the entry as it is; ``None`` for a new one.
        key: of the entry.
        changes: by the names of `Definition`.
        timezone: of a new one that names none.
        now: when it is edited.

    Raises:
        EntryInvalid: a name or a value makes no sense.
    """
    try:
        text = _definition(before, _values(changes), timezone).encode()
        entry = replace(before, definition=text) if before else Entry(id_of(key), key, text, "database")
        return Planner({}).started(replace(entry, edited=now), now)
    except OverflowError as error:
        raise EntryInvalid(f"a number or a moment is too large: {error}") from None


def send_now(app: Celery, entry: Entry) -> str:
    """Send the task of an entry now, beside its schedule, and return the call's id.

    Raises:
        EntryInvalid: its definition cannot be read.
    """
    told = decode(entry.definition)
    sent = app.send_task(told.task, told.args, dict(told.kwargs), **told.options)
    return str(sent.id)


def remove(store: BeatStore, key: str) -> None:
    """Forget an entry and what was sent by it. One of the settings comes back with the next start.

    Raises:
        EntryNotFound: there is none.
    """
    found(store, key)
    store.edit([id_of(key)], lambda _entries, _now: Edits(removed=[id_of(key)]))


def found(store: BeatStore, key: str) -> Entry:
    """Return the entry called ``key``.

    Raises:
        EntryNotFound: there is none.
    """
    entry = store.entry(key)
    if entry is None:
        raise EntryNotFound(f"The schedule has no entry {key!r}. See: autocelery -A proj beat list")
    return entry


def upcoming(entry: Entry, count: int) -> list[datetime]:
    """Return the next ``count`` ticks of an entry, as far as they are known.

    Raises:
        EntryInvalid: its definition cannot be read.
    """
    definition = decode(entry.definition)
    if entry.next_tick is None:
        return []
    ticks = ticks_of(definition.schedule, definition.zone, entry.anchor or entry.next_tick)
    following = [entry.next_tick]
    while isinstance(ticks, Ticks) and len(following) < count:
        tick = ticks.after(following[-1])
        if tick is None or (definition.last is not None and tick > definition.last):
            break
        following.append(tick)
    return following


def _values(changes: Mapping[str, Any]) -> dict[str, Any]:
    unknown = changes.keys() - set(_NAMES)
    if unknown:
        raise EntryInvalid(f"An entry has no {', '.join(sorted(unknown))}. It has {', '.join(_NAMES)}.")
    values = dict(changes)
    if "schedule" in values:
        values["schedule"] = schedule_from(values["schedule"])
    if "args" in values:
        values["args"] = tuple(values["args"])
    return values


def _definition(before: Entry | None, values: Mapping[str, Any], timezone: str) -> Definition:
    if before is not None:
        return changed(decode(before.definition), **values)
    if not {"task", "schedule"} <= values.keys():
        raise EntryInvalid("a new entry needs task=... and schedule=...")
    return check(Definition(**{"timezone": timezone, **values}))
