"""Entries in words: a schedule as a person would write it, and what is doubtful about an entry."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery

from autocelery._beat.definition import Definition
from autocelery._beat.importing.found import NAMES
from autocelery._beat.overlapping import lacks_results
from autocelery._beat.store import Entry

CRON = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def spoken(spec: Mapping[str, Any]) -> str:
    """Return a schedule as a person would write it.

    >>> spoken({"kind": "interval", "seconds": 30.0}), spoken({"kind": "crontab", "minute": "*/5"})
    ('every 30 s', '*/5 * * * *')
    """
    kind = spec.get("kind")
    if kind == "crontab":
        return " ".join(str(spec.get(name, "*")) for name in CRON)
    if kind == "interval":
        return f"every {spec['seconds']:g} s"
    return " ".join(
        str(value) for name, value in spec.items() if (name, value) not in (("kind", kind), ("days", "*"))
    )


def state_of(entry: Entry, is_enabled: bool) -> str:
    """Return what is to be said of an entry, nothing if it is sent as the settings say."""
    if entry.problem:
        return entry.problem
    if entry.removed:
        return "removed from the settings"
    if not is_enabled:
        return "disabled"
    came = f"imported from {NAMES[entry.origin]}" if entry.origin in NAMES else ""
    return ", ".join(filter(None, (came, "edited" if entry.is_edited else "")))


def doubts(app: Celery, definition: Definition) -> Iterator[str]:
    """Yield what may be wrong with an entry that is sent all the same.

    Args:
        app: with its tasks imported.
        definition: what the entry says.
    """
    if definition.task not in app.tasks:
        near = difflib.get_close_matches(definition.task, app.tasks, n=1, cutoff=0.7)
        hint = f"Did you mean {near[0]}?" if near else "It is sent; a worker that lacks it too rejects it."
        yield f"there is no task {definition.task!r} here. {hint}"
    if not definition.overlap and lacks_results(app, definition.task):
        yield (
            f"overlap = False needs results, to know when a run has ended; {definition.task!r} has none, so that a run "
            "counts as going for a day. Set a result backend."
        )
