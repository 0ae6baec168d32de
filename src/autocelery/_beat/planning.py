"""Which ticks of an entry are sent now, and when it is due next."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from celery.schedules import BaseSchedule

from autocelery._beat.definition import Definition, decode
from autocelery._beat.kinds import IntervalTicks, Ticks, ticks_of
from autocelery._beat.store import Entry
from autocelery._beat.users_classes import Polled
from autocelery.errors import EntryInvalid

#: So many ticks of one entry are sent at once; the others follow.
MOST_AT_ONCE = 1000
_INSTANT = timedelta(microseconds=1)
_SHORTEST_STEP, _SHORTEST_OF_OTHERS = timedelta(seconds=1), timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent now, and how the entry goes on."""

    definition: Definition
    ticks: tuple[datetime, ...]
    next_tick: datetime | None
    next_fire: datetime | None
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans entries.

    Args:
        schedules: by key, schedules of users' classes that cannot be stored.
    """

    schedules: Mapping[str, BaseSchedule]

    def started(self, entry: Entry, now: datetime) -> Entry:
        """Return ``entry`` with its first tick after now, as when it is new, edited or enabled.

        Raises:
            EntryInvalid: it cannot be, or is never due.
        """
        definition = decode(entry.definition)
        if not definition.enabled or entry.removed:
            return replace(entry, next_tick=None, next_fire=None, problem=None)
        first = definition.first
        if entry.last_tick is not None:  # a clock that was put back does not bring back what was due
            now = max(now, entry.last_tick)
        anchor = first or entry.last_tick or now.replace(microsecond=0)
        ticks = self._ticks(entry.key, definition, anchor)
        if isinstance(ticks, Polled):
            following: datetime | None = max(now, first or now)
        else:
            following = ticks.after(max(now, first - _INSTANT) if first else now)
        if following is None and definition.schedule["kind"] != "once":
            raise EntryInvalid("its schedule is never due")
        if not _may_go_on(definition, following, entry.runs):
            following = None
        return replace(
            entry,
            anchor=anchor,
            next_tick=following,
            next_fire=_fire(entry, definition, following),
            problem=None,
        )

    def plan(self, entry: Entry, now: datetime) -> Plan:
        """Return what is sent of ``entry``, which is due.

        Raises:
            EntryInvalid: its definition or its schedule's class fails.
        """
        definition = decode(entry.definition)
        if entry.next_tick is None or not definition.enabled or entry.removed:
            return Plan(definition, (), None, None)
        anchor = entry.anchor or entry.next_tick
        schedule = self._ticks(entry.key, definition, anchor)
        if isinstance(schedule, Polled):
            is_due, wait = schedule.ask(entry.last_tick or anchor, now)
            ticks = [entry.next_tick] if is_due else []
            return self._bounded(entry, definition, ticks, now + timedelta(seconds=wait), False)
        too_late = now - timedelta(seconds=definition.grace + definition.jitter)
        missed = _missed(entry.next_tick, schedule, min(too_late, definition.last or too_late))
        fresh, following = _fresh(entry, definition, schedule, missed, now)
        kept = _by_rule(definition, missed, schedule, entry.next_tick, fresh)
        if len(kept) > MOST_AT_ONCE:
            kept, following = kept[:MOST_AT_ONCE], kept[MOST_AT_ONCE]
        return self._bounded(entry, definition, kept, following, missed is not None)

    def _ticks(self, key: str, definition: Definition, anchor: datetime) -> Ticks | Polled:
        spec = definition.schedule
        if spec.get("kind") == "class" and "arguments" not in spec and key in self.schedules:
            return Polled(self.schedules[key])
        return ticks_of(spec, definition.zone, anchor)

    def _bounded(
        self,
        entry: Entry,
        definition: Definition,
        ticks: list[datetime],
        following: datetime | None,
        missed: bool,
    ) -> Plan:
        last = definition.last
        kept = [each for each in ticks if last is None or each <= last]
        if not definition.overlap:
            kept = kept[-1:]
        if definition.max_runs is not None:
            kept = kept[: max(0, definition.max_runs - entry.runs)]
        if not _may_go_on(definition, following, entry.runs + len(kept)):
            following = None
        return Plan(definition, tuple(kept), following, _fire(entry, definition, following), missed)


def jitter_of(entry: Entry, definition: Definition, tick: datetime) -> timedelta:
    """Return by how much a tick is delayed: the same whoever asks."""
    if not definition.jitter:
        return timedelta()
    digest = hashlib.sha256(f"{entry.id} {tick.isoformat()}".encode()).digest()
    return timedelta(seconds=definition.jitter * int.from_bytes(digest[:6], "big") / 2**48)


def latest(ticks: Ticks, begin: datetime, until: datetime) -> datetime:
    """Return the last tick up to ``until``, by halving the time between; ``begin`` is a tick before it."""
    lower, upper = begin, until
    while True:
        following = ticks.after(lower)
        if following is None or following > until:
            return lower
        lower = following
        while upper - lower > _SHORTEST_STEP:
            middle = lower + (upper - lower) / 2
            following = ticks.after(middle)
            if following is not None and following <= until:
                lower = following
            else:
                upper = middle
        upper = until


def _missed(begin: datetime, ticks: Ticks, until: datetime) -> datetime | None:
    """Return the last tick that is too late, ``None`` if none is."""
    return latest(ticks, begin, until) if begin <= until else None


def _fresh(
    entry: Entry, definition: Definition, ticks: Ticks, missed: datetime | None, now: datetime
) -> tuple[list[datetime], datetime | None]:
    """Return the ticks that are due and not too late, and the one after them."""
    tick, last = ticks.after(missed) if missed else entry.next_tick, definition.last
    found: list[datetime] = []
    while tick is not None and tick + jitter_of(entry, definition, tick) <= now and len(found) < MOST_AT_ONCE:
        if last is not None and tick > last:
            break
        found.append(tick)
        tick = ticks.after(tick)
    return found, tick


def _by_rule(
    definition: Definition, missed: datetime | None, ticks: Ticks, begin: datetime, fresh: list[datetime]
) -> list[datetime]:
    """Return what is sent of what was missed, by the entry's rule, and of what was not."""
    if missed is None or definition.missed == "skip":
        return fresh
    if definition.missed == "once" or not definition.overlap:  # of which the last is sent
        return fresh or [missed]
    return [*_last(ticks, begin, missed, definition.limit), *fresh]


def _last(ticks: Ticks, begin: datetime, end: datetime, count: int) -> list[datetime]:
    """Return the last ``count`` ticks from ``begin`` to ``end``, looking back twice as far until there are enough.

    Where there cannot be more than ``count`` those after the first that are sent at once are not looked for.
    """
    step = ticks.every if isinstance(ticks, IntervalTicks) else _SHORTEST_OF_OTHERS
    if (end - begin) // step < count:
        return _first(ticks, begin, end, MOST_AT_ONCE + 1)
    back = step * count
    while True:
        found: deque[datetime] = deque(maxlen=count)
        tick: datetime | None = begin if end - back <= begin else ticks.after(end - back)
        while tick is not None and tick <= end:
            found.append(tick)
            tick = ticks.after(tick)
        if len(found) == count or end - back <= begin:
            return list(found)
        back *= 2


def _first(ticks: Ticks, begin: datetime, end: datetime, count: int) -> list[datetime]:
    """Return the first ``count`` ticks from the tick ``begin`` to ``end``."""
    found: list[datetime] = []
    tick: datetime | None = begin
    while tick is not None and tick <= end and len(found) < count:
        found.append(tick)
        tick = ticks.after(tick)
    return found


def _may_go_on(definition: Definition, following: datetime | None, runs: int) -> bool:
    if following is None or (definition.last is not None and following > definition.last):
        return False
    return definition.max_runs is None or runs < definition.max_runs


def _fire(entry: Entry, definition: Definition, tick: datetime | None) -> datetime | None:
    return None if tick is None else tick + jitter_of(entry, definition, tick)
