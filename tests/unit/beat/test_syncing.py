"""Settings and database: an edit stays, what nobody edited follows, what is removed is disabled."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocelery._beat import editing
from autocelery._beat.definition import Definition, decode
from autocelery._beat.from_settings import Settings
from autocelery._beat.sql_store import SqlBeatStore
from autocelery._beat.store import BeatStore
from autocelery._beat.syncing import difference, rule_of, sync, take
from autocelery.errors import BeatNotConfigured, EntryInvalid, EntryNotFound


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BeatStore]:
    made = SqlBeatStore(f"sqlite:///{tmp_path}/beat.sqlite")
    made.prepare()
    yield made
    made.close()


def settings(**seconds: float) -> Settings:
    definitions = {
        key: Definition("proj.add", {"kind": "interval", "seconds": float(each)})
        for key, each in seconds.items()
    }
    return Settings(definitions, {}, {})


def seconds(store: BeatStore, key: str) -> float:
    return float(decode(editing.found(store, key).definition).schedule["seconds"])


def edit(store: BeatStore, key: str, every: float) -> None:
    editing.edit(store, key, {"schedule": every}, "UTC")


def test_what_nobody_edited_follows_the_settings_and_starts_anew(store: BeatStore) -> None:
    sync(store, settings(a=60), "edits")
    before = editing.found(store, "a")
    sync(store, settings(a=60), "edits")
    assert editing.found(store, "a") == before
    sync(store, settings(a=300), "edits")
    assert seconds(store, "a") == 300
    assert editing.found(store, "a").next_tick != before.next_tick


def test_an_edit_stays_until_somebody_decides(store: BeatStore, caplog: pytest.LogCaptureFixture) -> None:
    sync(store, settings(a=60), "edits")
    edit(store, "a", 300)
    sync(store, settings(a=60), "edits")
    assert seconds(store, "a") == 300
    assert [each.why for each in difference(store, settings(a=60))] == ["edited in the database"]
    with caplog.at_level(logging.WARNING):
        sync(store, settings(a=90), "edits")
    assert "'a' was changed in the settings and in the database" in caplog.text
    assert seconds(store, "a") == 300
    [found] = difference(store, settings(a=90))
    assert (found.why, decode(found.settings or "").schedule["seconds"]) == (
        "changed in the settings and in the database",
        90,
    )
    assert take(store, settings(a=90), "settings", ["a"]) == ["a"]
    assert seconds(store, "a") == 90
    assert difference(store, settings(a=90)) == []


def test_an_edit_that_was_taken_stays_until_the_settings_change_and_then_still_stays(
    store: BeatStore,
) -> None:
    sync(store, settings(a=60), "edits")
    edit(store, "a", 300)
    take(store, settings(a=90), "database", [])
    assert seconds(store, "a") == 300
    sync(store, settings(a=90), "edits")
    sync(store, settings(a=120), "edits")
    assert seconds(store, "a") == 300


def test_an_edit_back_to_what_the_settings_say_is_no_edit(store: BeatStore) -> None:
    sync(store, settings(a=60), "edits")
    edit(store, "a", 300)
    edit(store, "a", 60)
    sync(store, settings(a=90), "edits")
    assert seconds(store, "a") == 90


@pytest.mark.parametrize(
    ("rule", "after_edit", "after_change"),
    [("settings", 60, 90), ("database", 300, 300), ("newest", 300, 90)],
)
def test_another_rule(store: BeatStore, rule: str, after_edit: float, after_change: float) -> None:
    sync(store, settings(a=60), rule)
    edit(store, "a", 300)
    sync(store, settings(a=60), rule)
    assert seconds(store, "a") == after_edit
    sync(store, settings(a=90, b=1), rule)
    assert (seconds(store, "a"), seconds(store, "b")) == (after_change, 1)


def test_what_the_settings_removed_is_disabled_not_forgotten_and_comes_back_with_them(
    store: BeatStore,
) -> None:
    sync(store, settings(a=60), "edits")
    edit(store, "a", 300)
    sync(store, settings(), "edits")
    gone = editing.found(store, "a")
    assert (gone.removed, gone.next_fire) == (True, None)
    assert [each.why for each in difference(store, settings())] == ["removed from the settings"]
    sync(store, settings(a=60), "edits")
    again = editing.found(store, "a")
    assert (again.removed, seconds(store, "a")) == (False, 300)
    assert again.next_fire is not None


def test_of_what_the_settings_removed_either_word_can_be_taken(store: BeatStore) -> None:
    sync(store, settings(a=60, b=60), "edits")
    sync(store, settings(), "edits")
    take(store, settings(), "database", ["a"])
    take(store, settings(), "settings", ["b"])
    assert [each.key for each in store.entries()] == ["a"]
    assert editing.found(store, "a").next_fire is not None
    sync(store, settings(), "edits")
    assert not editing.found(store, "a").removed


def test_two_entries_with_one_key_are_told_of_and_that_of_the_database_counts(
    store: BeatStore, caplog: pytest.LogCaptureFixture
) -> None:
    editing.edit(store, "a", {"task": "proj.mul", "schedule": 10}, "UTC")
    with caplog.at_level(logging.WARNING):
        sync(store, settings(a=60), "edits")
    assert "two entries have the key 'a'" in caplog.text
    assert decode(editing.found(store, "a").definition).task == "proj.mul"
    take(store, settings(a=60), "settings", ["a"])
    assert decode(editing.found(store, "a").definition).task == "proj.add"


def test_an_entry_of_the_settings_that_is_broken_now_is_not_taken_for_removed(store: BeatStore) -> None:
    sync(store, settings(a=60), "edits")
    sync(store, replace(settings(), problems={"a": "it lacks task"}), "edits")
    assert not editing.found(store, "a").removed


def test_an_edit_that_makes_no_sense_changes_nothing(store: BeatStore) -> None:
    sync(store, settings(a=60), "edits")
    before = editing.found(store, "a")
    for changes in (
        {"schedule": "* * * * * *"},
        {"schedule": "often"},
        {"schedule": "0 0 31 2 *"},
        {"timezone": "Nowhere"},
        {"colour": "red"},
        {"jitter": "much"},
    ):
        with pytest.raises(EntryInvalid):
            editing.edit(store, "a", changes, "UTC")
    assert editing.found(store, "a") == before
    with pytest.raises(EntryNotFound, match="'b'"):
        editing.remove(store, "b")
    with pytest.raises(EntryNotFound, match="'b'"):
        take(store, settings(a=60), "settings", ["b"])


def test_a_rule_that_is_none_is_refused() -> None:
    assert rule_of(None) == "edits"
    with pytest.raises(BeatNotConfigured, match="oldest"):
        rule_of("oldest")


def test_what_was_made_in_the_database_is_not_read_to_bring_the_settings_in(store: BeatStore) -> None:
    editing.edit(store, "made here", {"task": "add", "schedule": 60}, "UTC")
    editing.edit(store, "both", {"task": "add", "schedule": 60}, "UTC")
    seen: list[str] = []
    plain = store.edit

    def noting(ids: Any, change: Any, origin: str | None = None) -> None:
        def note(entries: Any, now: Any) -> Any:
            seen.extend(each.key for each in entries.values())
            return change(entries, now)

        plain(ids, note, origin)

    store.edit = noting  # type: ignore[method-assign]
    sync(store, settings(both=60, settings=60), "edits")
    assert seen == ["both"]
    sync(store, settings(both=60, settings=60), "edits")
    assert sorted(seen[1:]) == ["both", "settings"]
