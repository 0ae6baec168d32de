"""Bringing what was found into the schedule: what is new, what changed there, and what was edited here since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from autocelery._beat.definition import Definition, id_of
from autocelery._beat.from_settings import Settings
from autocelery._beat.importing import meaning
from autocelery._beat.importing.found import NAMES, Found
from autocelery._beat.planning import Planner
from autocelery._beat.store import BeatStore, Edits, Entry
from autocelery._beat.syncing import SETTINGS
from autocelery.errors import BeatDatabaseNotReady, EntryInvalid

IMPORTED, UPDATED, THERE, KEPT, GONE = "imported", "updated", "already there", "kept", "gone there"
CLASHES, REFUSED = "not imported: clash", "not imported"
#: What did not come in, so that somebody has to look at it.
NOT_IMPORTED = frozenset({CLASHES, REFUSED})
_AT_ONCE = 500
#: A header of each message of django-celery-beat's, so that results can be told apart; settings do not have it.
PERIODIC_TASK_NAME = "periodic_task_name"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an entry: ``result``, ``why`` if it needs one, and ``notes`` on what means something else."""

    key: str
    result: str
    why: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Brought:
    outcome: Outcome
    entry: Entry | None = None


class Importer:
    """Brings entries of one other scheduler into the schedule.

    Args:
        store: the database of the schedule.
        origin: which scheduler they are of.
        settings: what ``beat_schedule`` has; it goes before what was found.
        is_dry: whether nothing is written.
    """

    def __init__(self, store: BeatStore, origin: str, settings: Settings, is_dry: bool = False) -> None:
        self._store = store
        self._origin = origin
        self._settings = settings
        self._is_dry = is_dry

    def bring(self, found: Sequence[Found]) -> list[Outcome]:
        """Bring them in, some hundreds in one transaction, and return what became of each.

        Running it again changes nothing: an entry that was imported follows the other scheduler until it is edited
        here.

        Raises:
            BeatDatabaseUnavailable: the database does not answer; what was brought in before stays.
        """
        if not self._is_dry:
            self._store.prepare()
        single, outcomes = _without_doubles(found)
        for begin in range(0, len(single), _AT_ONCE):
            outcomes += self._bring_some(single[begin : begin + _AT_ONCE])
        outcomes += self._gone({each.key for each in found})
        return sorted(outcomes, key=lambda each: each.key)

    def _bring_some(self, found: Sequence[Found]) -> list[Outcome]:
        outcomes: list[Outcome] = []

        def change(entries: Mapping[str, Entry], now: datetime) -> Edits:
            brought = [self._brought(each, entries.get(id_of(each.key)), now) for each in found]
            outcomes[:] = [each.outcome for each in brought]
            return Edits([] if self._is_dry else [each.entry for each in brought if each.entry is not None])

        try:
            self._store.edit([id_of(each.key) for each in found], change)
        except BeatDatabaseNotReady:
            if not self._is_dry:
                raise
            change({}, datetime.now(UTC))
        return outcomes

    def _brought(self, each: Found, before: Entry | None, now: datetime) -> _Brought:
        if each.definition is None:
            return _Brought(Outcome(each.key, REFUSED, each.problem or "nobody knows why"))
        clash = self._clash(each.key, each.definition, before)
        if clash is not None:
            return _Brought(clash)
        text = each.definition.encode()
        ours = before if before is not None and before.origin == self._origin else None
        if ours is not None and (ours.settings == text or ours.is_edited):
            return _Brought(_unchanged(ours, text))
        try:
            return self._made(each, each.definition, before, ours is not None, now)
        except EntryInvalid as error:
            return _Brought(Outcome(each.key, REFUSED, error.message))

    def _made(
        self, each: Found, definition: Definition, before: Entry | None, is_known: bool, now: datetime
    ) -> _Brought:
        text, last, notes = definition.encode(), each.last, list(each.notes)
        if last is not None and last > now:
            notes.append(
                f"it says that it was last sent at {last.isoformat()}, which is still to come; that is left out"
            )
            last = None
        if before is None:
            last_tick = last.replace(microsecond=0) if last else None
            before = Entry(id_of(each.key), each.key, text, self._origin, last_tick=last_tick, runs=each.runs)
        entry = replace(before, definition=text, settings=text, origin=self._origin, removed=False)
        entry = Planner({}).started(entry, now)
        notes += meaning.of_clock_changes(definition, now)
        if not is_known:
            notes += meaning.of_time_passed(definition, entry, last, now)
        return _Brought(Outcome(each.key, UPDATED if is_known else IMPORTED, notes=tuple(notes)), entry)

    def _clash(self, key: str, definition: Definition, before: Entry | None) -> Outcome | None:
        """Return what to say where somebody else has an entry of this key, ``None`` if nobody has."""
        if key in self._settings.problems:
            why = f"beat_schedule has an entry of this key, and that cannot be read: {self._settings.problems[key]}"
            return Outcome(key, CLASHES, why)
        told = self._settings.definitions.get(key)
        if told is not None:
            return _beside_settings(key, told, definition)
        if before is None or before.origin in (
            self._origin,
            SETTINGS,
        ):  # the settings do not have it any more
            return None
        came = f"was imported from {NAMES[before.origin]}" if before.origin in NAMES else "was made here"
        why = f"an entry of this key {came}. Remove one of them, or give it another key"
        return Outcome(key, CLASHES, why)

    def _gone(self, keys: set[str]) -> Iterator[Outcome]:
        try:
            entries = self._store.entries()
        except BeatDatabaseNotReady:
            return
        for entry in entries:
            if entry.origin == self._origin and entry.key not in keys:
                why = f"it was imported, and is not there any more. To remove it here too: beat remove {entry.key!r}"
                yield Outcome(entry.key, GONE, why)


def _without_doubles(found: Sequence[Found]) -> tuple[list[Found], list[Outcome]]:
    """Return what can be looked for by its key, and what became of the others."""
    single: dict[str, Found] = {}
    outcomes = []
    for each in found:
        try:
            id_of(each.key)
        except EntryInvalid as error:
            outcomes.append(Outcome(each.key, REFUSED, error.message))
            continue
        if each.key in single:
            outcomes.append(
                Outcome(each.key, REFUSED, "there are two entries with this key; this is the second")
            )
            continue
        single[each.key] = each
    return list(single.values()), outcomes


def _unchanged(ours: Entry, text: str) -> Outcome:
    if not ours.is_edited:
        return Outcome(ours.key, THERE)
    changed = "" if ours.settings == text else ", and was changed there too"
    return Outcome(
        ours.key,
        KEPT,
        f"it was edited here since{changed}. To have it as it is there: beat remove {ours.key!r}, and import again",
    )


def _beside_settings(key: str, settings: Definition, definition: Definition) -> Outcome:
    ours, theirs = _without_mark(settings), _without_mark(definition)
    names = [
        each.name for each in fields(Definition) if getattr(ours, each.name) != getattr(theirs, each.name)
    ]
    if not names:
        return Outcome(key, THERE, "beat_schedule has it, and says the same")
    why = (
        f"beat_schedule has an entry of this key, which counts, and says otherwise of {', '.join(names)}. Change it "
        f"there, or when beat has been started: beat set {key!r} {names[0]}=..."
    )
    return Outcome(key, CLASHES, why)


def _without_mark(definition: Definition) -> Definition:
    """Return it as it is stored and read again, without what django-celery-beat adds to each message."""
    options: dict[str, Any] = dict(definition.options)
    headers = dict(options.pop("headers", None) or {})
    headers.pop(PERIODIC_TASK_NAME, None)
    if headers:
        options["headers"] = headers
    return replace(
        definition, options=options, kwargs=dict(definition.kwargs), schedule=dict(definition.schedule)
    )
