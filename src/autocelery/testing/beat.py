"""Beat under a clock that a test moves: which entries fire when, and what they send."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from celery import Celery

from autocelery._beat.definition import id_of
from autocelery._beat.from_settings import read
from autocelery._beat.sender import call_of, publish
from autocelery._beat.store import RECORDED, Entry, Tick
from autocelery.errors import BeatNotConfigured, ConfigurationError, EntryInvalid
from autocelery.testing.time import Time

#: Tells a mistake from a schedule: a test that moves time over so many ticks does not end.
_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Fired:
    """An entry that was due.

    Args:
        entry: its key.
        task: the task's name.
        at: when it was due, in UTC; with jitter it is sent a little later.
        task_id: of the call; another one in each test.
    """

    entry: str
    task: str
    at: datetime
    task_id: str


@dataclass(frozen=True, slots=True)
class _Due:
    """What fires, when it is sent, and the message of it."""

    fired: Fired
    sent_at: datetime
    tick: Tick


class Beat:
    """The ``beat_schedule`` of an app, by the time of a test.

    Entries begin as new ones do: with their first tick after now. What fires is sent to wherever the app sends, so
    that an app that is eager runs it.

    Args:
        app: the app.
        time: its time.

    Raises:
        EntryInvalid: an entry makes no sense; the message names it.
        BeatNotConfigured: what beat needs is not installed.
    """

    def __init__(self, app: Celery, time: Time) -> None:
        try:
            from autocelery._beat.planning import Planner
        except ModuleNotFoundError as error:
            raise BeatNotConfigured(
                f"Tests of beat need {error.name}, which is not installed. Run: pip install 'autocelery[beat]'"
            ) from error
        self._app = app
        self._time = time
        settings = read(app)
        for key, why in settings.problems.items():
            raise _invalid(key, why)
        self._planner: Any = Planner(settings.schedules)
        self._definitions = settings.definitions
        self._entries: dict[str, Entry] = {}
        self._last_sent: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        """Begin anew: with the first tick of each entry after now, and no runs yet."""
        self._last_sent.clear()
        # Beat's own ids are the same for a tick in each test, and results in memory outlive a test.
        self._ids = uuid.uuid4()
        for key, definition in self._definitions.items():
            entry = Entry(id_of(key), key, definition.encode(), "settings")
            try:
                self._entries[key] = self._planner.started(entry, self._time.now())
            except EntryInvalid as error:
                raise _invalid(key, error.message) from None

    def upcoming(self, **within: float) -> list[Fired]:
        """Return what will fire, the earliest first; nothing is sent, and time stays as it is.

        Args:
            **within: what `datetime.timedelta` takes, as ``upcoming(days=1)``.
        """
        until = self._time.now() + timedelta(**within)
        return [each.fired for each in self._firing(dict(self._entries), until)]

    def move(self, **by: float) -> list[Fired]:
        """Move time forward, as ``move(minutes=5)``, send each entry at its own time, and return what fired.

        Args:
            **by: what `datetime.timedelta` takes.
        """
        return self.move_to(self._time.now() + timedelta(**by))

    def move_to(self, moment: datetime) -> list[Fired]:
        """Move time forward to ``moment``, which has a time zone; the same as `move`."""
        if moment < self._time.now():
            raise ConfigurationError("Time moves forward only. Begin earlier: Time(app, at=...).")
        fired = []
        for each in self._firing(self._entries, moment):
            if each.sent_at > self._time.now():
                self._time.move_to(each.sent_at)
            if self._is_still_going(each):
                continue
            publish(self._app, each.tick)
            fired.append(each.fired)
        self._time.move_to(moment)
        return fired

    def _firing(self, entries: dict[str, Entry], until: datetime) -> Iterator[_Due]:
        """Yield what fires until then, one after the other, and let ``entries`` go on."""
        now, count = self._time.now(), 0
        while True:
            waiting = [
                each for each in entries.values() if each.next_fire is not None and each.next_fire <= until
            ]
            if not waiting:
                return
            entry = min(waiting, key=lambda each: (each.next_fire, each.key))
            assert entry.next_fire is not None
            now = max(now, entry.next_fire)
            try:
                plan = self._planner.plan(entry, now)
            except EntryInvalid as error:
                raise _invalid(entry.key, error.message) from None
            call = call_of(plan.definition)
            for moment in plan.ticks:
                count += 1
                task_id = str(uuid.uuid5(self._ids, f"{entry.key} {moment.isoformat()}"))
                tick = Tick(entry.id, entry.key, moment, task_id, RECORDED, 0, call)
                entry = replace(entry, last_tick=moment, last_task_id=tick.task_id, runs=entry.runs + 1)
                yield _Due(Fired(entry.key, plan.definition.task, moment, tick.task_id), now, tick)
            entries[entry.key] = replace(entry, next_tick=plan.next_tick, next_fire=plan.next_fire)
            if count > _MOST:
                raise ConfigurationError(f"More than {_MOST} ticks are due until {until}. Move time by less.")

    def _is_still_going(self, due: _Due) -> bool:
        """Whether the run before is not over, of an entry that does not overlap with itself."""
        definition = self._definitions[due.fired.entry]
        before = self._last_sent.get(due.fired.entry)
        if not definition.overlap and before is not None and not self._app.AsyncResult(before).ready():
            return True
        self._last_sent[due.fired.entry] = due.fired.task_id
        return False


def _invalid(key: str, why: str) -> EntryInvalid:
    return EntryInvalid(f"Entry {key!r} of beat_schedule is not sent: {why}.")
