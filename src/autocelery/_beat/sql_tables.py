"""The tables of a schedule, and how their rows are read. Moments are microseconds since the epoch, in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, RowMapping, String, Table, Text
from sqlalchemy.dialects.mysql import LONGTEXT

from autocelery._beat.store import Entry, Tick

#: Grows with each change of the tables.
VERSION = 1
#: The name of the only row of the leases.
SCHEDULE = "schedule"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_OPTIONS: dict[str, Any] = {
    f"{name}_{key}": value
    for name in ("mysql", "mariadb")
    for key, value in (("charset", "utf8mb4"), ("engine", "InnoDB"))
}

METADATA = MetaData()
LEASES = Table(
    "autocelery_beat_lease",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("holder", String(200)),
    Column("renewals", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    **_OPTIONS,
)
ENTRIES = Table(
    "autocelery_beat_entries",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("key", Text, nullable=False),
    Column("definition", _LONG, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("settings", _LONG),
    Column("removed", Boolean, nullable=False),
    Column("anchor", BigInteger),
    Column("next_tick", BigInteger),
    Column("next_fire", BigInteger),
    Column("last_tick", BigInteger),
    Column("last_task_id", String(36)),
    Column("runs", BigInteger, nullable=False),
    Column("problem", Text),
    Column("edited", BigInteger),
    Index("autocelery_beat_next_fire", "next_fire"),
    **_OPTIONS,
)
TICKS = Table(
    "autocelery_beat_ticks",
    METADATA,
    Column("entry", String(32), primary_key=True),
    Column("tick", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("task_id", String(36), nullable=False),
    Column("state", String(16), nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("call", _LONG),
    Column("error", Text),
    Column("recorded", BigInteger, nullable=False),
    Index("autocelery_beat_state", "state", "tick"),
    **_OPTIONS,
)
_MOMENTS = frozenset({"anchor", "next_tick", "next_fire", "last_tick", "edited", "tick", "recorded"})
_ENTRY = tuple(each.name for each in fields(Entry))
_TICK = tuple(each.name for each in fields(Tick))


def number(moment: datetime) -> int:
    """Return a moment as it is stored."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(stored: int) -> datetime:
    """Return the moment that is stored."""
    return _EPOCH + timedelta(microseconds=int(stored))


def row_of(told: Entry | Tick) -> dict[str, Any]:
    """Return the values by column."""
    names = _ENTRY if isinstance(told, Entry) else _TICK
    values = ((name, getattr(told, name)) for name in names)
    return {name: number(value) if isinstance(value, datetime) else value for name, value in values}


def entry_of(row: Mapping[Any, Any]) -> Entry:
    """Return the entry of a row."""
    return Entry(**{name: _read(name, row[name]) for name in _ENTRY})


def tick_of(row: RowMapping) -> Tick:
    """Return the tick of a row."""
    return Tick(**{name: _read(name, row[name]) for name in _TICK})


def _read(name: str, value: Any) -> Any:
    return moment(value) if name in _MOMENTS and value is not None else value
