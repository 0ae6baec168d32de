"""Rows of the schedule as the admin reads them: in words, in the entry's own zone, with results if there are some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.apps import apps
from django.urls import NoReverseMatch, reverse

from autocelery._beat import encoding
from autocelery._beat.definition import zone_of
from autocelery._beat.sql_tables import entry_of, moment
from autocelery._beat.store import Entry as StoredEntry
from autocelery.errors import EntryInvalid
from autocelery.presets.django._namespace import RESULTS_APP
from autocelery.presets.django.beat import models

#: How many runs are shown.
LAST = 10
_NAMES = tuple(each.name for each in fields(StoredEntry))


@dataclass(frozen=True, slots=True)
class Run:
    """One tick of the past: when it was due, what became of it, and of the call that it sent."""

    tick: str
    state: str
    task_id: str
    error: str = ""
    result: str = ""
    address: str = ""


def stored(row: models.Entry) -> StoredEntry:
    """Return a row as a store gives it."""
    return entry_of({name: getattr(row, name) for name in _NAMES})


def told(row: models.Entry) -> Mapping[str, Any]:
    """Return what an entry says, as far as it can be read."""
    try:
        found = encoding.loads(row.definition)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def in_zone(when: datetime | None, said: Mapping[str, Any]) -> str:
    """Return a moment on the clock of an entry's zone."""
    if when is None:
        return ""
    zone: Any = UTC
    with suppress(EntryInvalid):  # one that there is not is said elsewhere
        zone = zone_of(str(said.get("timezone", "UTC")))
    name = zone.key if isinstance(zone, ZoneInfo) else "UTC"
    return f"{when.astimezone(zone):%Y-%m-%d %H:%M:%S} {name}"


def runs(row: models.Entry, site: str) -> Iterator[Run]:
    """Yield the last ticks of an entry, the latest first.

    Args:
        row: the entry.
        site: the name of the admin in which results are linked to.
    """
    ticks = models.Tick.objects.filter(entry=row.id).order_by("-tick")[:LAST]
    results = _results([each.task_id for each in ticks])
    said = told(row)
    for each in ticks:
        key, state = results.get(each.task_id, (None, ""))
        yield Run(
            in_zone(moment(each.tick), said),
            each.state,
            each.task_id,
            each.error or "",
            state,
            _address(site, key) if key is not None else "",
        )


def address_of(task_id: str, site: str) -> str:
    """Return where the admin shows the result of a call; nothing where there is none, or not yet."""
    key, _ = _results([task_id]).get(task_id, (None, ""))
    return _address(site, key) if key is not None else ""


def _results(ids: list[str]) -> dict[str, tuple[int, str]]:
    """Return key and state of the results that are in Django's database."""
    if not apps.is_installed(RESULTS_APP):
        return {}
    from django_celery_results.models import TaskResult

    rows = TaskResult.objects.filter(task_id__in=ids).values_list("task_id", "pk", "status")
    return {task_id: (key, state) for task_id, key, state in rows}


def _address(site: str, key: int) -> str:
    try:
        return str(reverse(f"{site}:django_celery_results_taskresult_change", args=[key]))
    except NoReverseMatch:  # a site that does not show results
        return ""
