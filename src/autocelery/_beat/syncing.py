"""The settings and the database: which of the two an entry follows, and who decides where both were changed."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from autocelery._beat.definition import id_of
from autocelery._beat.from_settings import Settings
from autocelery._beat.planning import Planner
from autocelery._beat.store import BeatStore, Edits, Entry
from autocelery.errors import BeatNotConfigured, EntryInvalid, EntryNotFound

logger = logging.getLogger(__name__)

#: An edit stays; what nobody edited follows the settings.
EDITS = "edits"
#: ``beat_sync``: another rule.
RULES = (EDITS, "settings", "database", "newest")
SETTINGS, DATABASE = "settings", "database"


@dataclass(frozen=True, slots=True)
class Difference:
    """Both sides of an entry, as texts; ``None`` where one does not have it. ``why`` says how they came apart."""

    key: str
    settings: str | None
    database: str | None
    why: str


def rule_of(told: object) -> str:
    """Return the rule that ``beat_sync`` states.

    Raises:
        BeatNotConfigured: there is no such rule.
    """
    rule = str(told or EDITS)
    if rule not in RULES:
        raise BeatNotConfigured(f"beat_sync is {rule!r}; it is one of {', '.join(RULES[1:])}, or not set.")
    return rule


def sync(store: BeatStore, settings: Settings, rule: str) -> None:
    """Bring what the settings say into the database, by ``rule``. Any number of instances may do it at once."""
    texts = {id_of(key): (key, told.encode()) for key, told in settings.definitions.items()}
    broken = {id_of(key) for key in settings.problems if 0 < len(key) <= 1000}
    planner = Planner(settings.schedules)

    def change(entries: Mapping[str, Entry], now: datetime) -> Edits:
        put = [_synced(entries.get(each), key, text, rule) for each, (key, text) in texts.items()]
        gone = [
            replace(entry, removed=True)
            for each, entry in entries.items()
            if entry.origin == SETTINGS and not entry.removed and each not in texts and each not in broken
        ]
        for entry in gone:
            logger.warning("beat: entry %r is not in the settings any more: it is disabled.", entry.key)
        changed = [(each, entries.get(each.id)) for each in (*put, *gone)]
        return Edits(
            [_started(planner, each, before, now) for each, before in changed if _needs_write(each, before)]
        )

    store.edit(texts, change, origin=SETTINGS)  # not all: of 100,000 a transaction does not last


def difference(store: BeatStore, settings: Settings) -> list[Difference]:
    """Return the entries of which settings and database say different things, by key."""
    found: list[Difference] = []
    entries = {entry.key: entry for entry in store.entries()}
    for key in sorted(entries.keys() | settings.definitions.keys()):
        entry, told = entries.get(key), settings.definitions.get(key)
        text = told.encode() if told else None
        if entry is None:
            found.append(Difference(key, text, None, "not in the database yet: no beat has started since"))
        elif text is None and entry.origin == SETTINGS:
            found.append(Difference(key, None, entry.definition, "removed from the settings"))
        elif text is not None and text != entry.definition:
            found.append(Difference(key, text, entry.definition, _why(entry, text)))
    return found


def take(
    store: BeatStore, settings: Settings, side: Literal["settings", "database"], keys: Collection[str]
) -> list[str]:
    """Decide for one side where the two differ, and return the keys for which it was decided.

    Args:
        store: the database.
        settings: the other side.
        side: whose word counts.
        keys: of which entries; none for all that differ.

    Raises:
        EntryNotFound: neither side has an entry called so.
    """
    differing = {each.key: each for each in difference(store, settings)}
    entries = {entry.key for entry in store.entries()}
    for key in keys:
        if key not in entries and key not in settings.definitions:
            raise EntryNotFound(
                f"Neither settings nor database have an entry {key!r}. See autocelery beat list"
            )
    chosen = [differing[key] for key in (keys or differing) if key in differing]
    planner = Planner(settings.schedules)

    def change(entries: Mapping[str, Entry], now: datetime) -> Edits:
        put: list[Entry] = []
        removed: list[str] = []
        for each in chosen:
            before = entries.get(id_of(each.key))
            if side == SETTINGS and each.settings is None:
                removed.append(id_of(each.key))
                continue
            after = _taken(each, before, side)
            if after is not None:
                put.append(_started(planner, after, before, now))
        return Edits(put, removed)

    store.edit([id_of(each.key) for each in chosen], change)
    return [each.key for each in chosen]


def _synced(entry: Entry | None, key: str, text: str, rule: str) -> Entry:
    if entry is None:
        return Entry(id_of(key), key, text, SETTINGS, settings=text)
    if entry.origin != SETTINGS:  # made here, or imported
        logger.warning(
            "beat: two entries have the key %r: one in beat_schedule, one that was made in the database. That of the "
            "database counts. Rename one, or: autocelery -A proj beat sync --take settings %r",
            key,
            key,
        )
        return entry
    entry = replace(entry, removed=False)
    if _follows(entry, text, rule):
        return replace(entry, definition=text, settings=text)
    if entry.definition == text:
        return replace(entry, settings=text)
    if entry.settings != text:
        logger.warning(
            "beat: entry %r was changed in the settings and in the database. That of the database counts. See: "
            "autocelery -A proj beat diff",
            key,
        )
    return entry


def _follows(entry: Entry, text: str, rule: str) -> bool:
    """Whether an entry takes what the settings say now."""
    if rule == SETTINGS:
        return True
    if rule == DATABASE:
        return False
    was_changed_in_settings = entry.settings != text
    return was_changed_in_settings and (rule == "newest" or not entry.is_edited)


def _taken(each: Difference, before: Entry | None, side: str) -> Entry | None:
    if each.settings is None:
        return replace(before, origin=DATABASE, settings=None, removed=False) if before else None
    if before is None:
        return (
            Entry(id_of(each.key), each.key, each.settings, SETTINGS, settings=each.settings)
            if side == SETTINGS
            else None
        )
    if side == SETTINGS:
        return replace(
            before, definition=each.settings, settings=each.settings, origin=SETTINGS, removed=False
        )
    return replace(before, settings=each.settings, origin=SETTINGS, removed=False)


def _started(planner: Planner, entry: Entry, before: Entry | None, now: datetime) -> Entry:
    if (
        before is not None
        and before.problem is None
        and (before.definition, before.removed) == (entry.definition, entry.removed)
    ):
        return entry
    return started(planner, entry, now)


def started(planner: Planner, entry: Entry, now: datetime) -> Entry:
    """Return ``entry`` with its first tick from now on, or with the problem that keeps it from having one."""
    try:
        return planner.started(entry, now)
    except EntryInvalid as error:
        logger.error("beat: entry %r is not sent: %s.", entry.key, error.message)
        return replace(entry, next_tick=None, next_fire=None, problem=error.message)


def _needs_write(entry: Entry, before: Entry | None) -> bool:
    return before is None or entry != before


def _why(entry: Entry, text: str) -> str:
    if entry.origin != SETTINGS:
        return "made in the database, and in the settings under the same key"
    if entry.settings == text:
        return "edited in the database"
    return (
        "changed in the settings and in the database" if entry.is_edited else "changed in the settings since"
    )
