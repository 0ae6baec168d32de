"""A schedule in a SQL database: PostgreSQL, MariaDB, or SQLite for one machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from autocelery._beat.definition import id_of
from autocelery._beat.sql_engine import (
    SECONDS,
    Place,
    clock_of,
    is_forbidden,
    is_passing,
    lacks_table,
    locked,
    place_of,
)
from autocelery._beat.sql_tables import (
    ENTRIES,
    LEASES,
    METADATA,
    SCHEDULE,
    TICKS,
    VERSION,
    entry_of,
    moment,
    number,
    row_of,
    tick_of,
)
from autocelery._beat.store import RECORDED, Decision, Due, Edits, Entry, Lease, Tick
from autocelery._blobs.addresses import short
from autocelery._blobs.per_process import PerProcess
from autocelery._blobs.sql_dialects import Deadline
from autocelery.errors import BeatDatabaseNotReady, BeatDatabaseUnavailable

R = TypeVar("R")

_ATTEMPTS = 3
#: How often it is begun anew to make the tables: each of them, and the lease's row, may be made by another meanwhile.
_MAKING_ATTEMPTS = _ATTEMPTS + len(METADATA.tables) + 1
#: How many ids one statement takes.
_IDS_AT_ONCE = 500
#: How many rows an edit, a list or a clean-up is allowed the time for.
_MANY = 20_000
#: What a row may take longer than a statement alone, in seconds.
_SECONDS_A_ROW = 0.005
#: How many ticks one transaction records before it leaves the rest to the next, and for how long, in seconds, it may
#: find out which: a database ends those that say nothing for `IDLE_SECONDS`.
_MOST_TICKS, _SECONDS_TO_DECIDE = 1000, 1.0
_MINE = LEASES.c.name == SCHEDULE


class SqlBeatStore:
    """The schedule in the tables ``autocelery_beat_*``. Owns a pool of connections, each process its own.

    Args:
        place: the database, or its URL as SQLAlchemy writes it.

    Raises:
        BeatNotConfigured: the driver is not installed, or the address makes no sense.
    """

    def __init__(self, place: Place | str) -> None:
        self._place = place_of(place) if isinstance(place, str) else place
        self._engine = PerProcess(self._place.new_engine)
        self._clock = clock_of(self._engine.get())

    @property
    def url(self) -> str:
        """What messages call the database; no password is in it."""
        return self._place.name

    def prepare(self) -> None:
        """Make the tables where there are none, and the row of the lease."""

        def make(connection: Connection) -> None:
            if self._place.makes_tables:
                METADATA.create_all(connection)
            if connection.execute(select(LEASES.c.name).where(_MINE)).first() is None:
                # A row that somebody removed comes back with a greater token than any before: seconds since 1970.
                token = number(self._now(connection)) // 1_000_000
                values = {"name": SCHEDULE, "version": VERSION, "token": token, "renewals": 0, "expires": 0}
                connection.execute(insert(LEASES), values)

        try:
            self.lease()
        except BeatDatabaseNotReady:
            self._run(make, attempts=_MAKING_ATTEMPTS, is_making=self._place.makes_tables)
            self.lease()

    def lease(self) -> tuple[datetime, Lease]:
        """Return the time by the database's clock, and the lease."""
        return self._run(self._lease)

    def take(self, seen: Lease, holder: str, seconds: float) -> int | None:
        """Take the lease if it is still as it was seen."""

        def take(connection: Connection) -> int | None:
            expires = number(self._now(connection)) + int(seconds * 1e6)
            values = {"token": seen.token + 1, "holder": holder[:200], "renewals": 0, "expires": expires}
            as_seen = (LEASES.c.token == seen.token, LEASES.c.renewals == seen.renewals)
            taken = connection.execute(update(LEASES).where(_MINE, *as_seen).values(values)).rowcount
            return seen.token + 1 if taken else None

        return self._run(take)

    def renew(self, token: int, seconds: float) -> bool:
        """Say that the holder of ``token`` is alive; whether the lease is still its."""
        return self._run(lambda connection: self._renew(connection, token, seconds))

    def release(self, token: int) -> None:
        """Let go of the lease, if it is still that of ``token``."""
        freed = update(LEASES).where(_MINE, LEASES.c.token == token).values(holder=None, expires=0)
        self._run(lambda connection: connection.execute(freed), attempts=1)

    def due(self, limit: int) -> Due:
        """Return what is due."""

        def ask(connection: Connection) -> Due:
            earliest = select(self._clock().label("now"), func.min(ENTRIES.c.next_fire).label("first"))
            now, first = connection.execute(earliest).one()
            if first is None or first > now:
                return Due(moment(now), (), moment(first) if first is not None else None)
            asked = select(ENTRIES.c.id).where(ENTRIES.c.next_fire <= now).order_by(ENTRIES.c.next_fire)
            return Due(moment(now), tuple(connection.execute(asked.limit(limit)).scalars()), None)

        return self._run(ask)

    def record(
        self, token: int, ids: Collection[str], decide: Callable[[Entry, datetime], Decision]
    ) -> list[Tick] | None:
        """Record ticks: under the fencing token, entries and ticks in one transaction."""

        def record(connection: Connection) -> list[Tick] | None:
            if not self._renew(connection, token):
                return None
            now = self._now(connection)
            found = self._found(connection, ids)
            due = (each for each in found.values() if each.next_fire is not None and each.next_fire <= now)
            decisions = list(_decided(due, decide, now))
            self._write(connection, [each.entry for each in decisions])
            ticks = [replace(tick, token=token, recorded=now) for each in decisions for tick in each.ticks]
            known = _known(connection, ticks)
            ticks = [each for each in ticks if (each.entry, number(each.tick)) not in known]
            if ticks:
                connection.execute(insert(TICKS), [row_of(each) for each in ticks])
            return ticks

        return self._run(record, rows=len(ids), attempts=1)

    def outbox(self) -> list[Tick]:
        """Return the ticks that were recorded and are not known to be sent, the oldest first."""
        asked = select(TICKS).where(TICKS.c.state == RECORDED).order_by(TICKS.c.tick).limit(_IDS_AT_ONCE)
        return self._run(lambda connection: [tick_of(row) for row in connection.execute(asked).mappings()])

    def settle(self, ticks: Iterable[Tick]) -> None:
        """Write down what became of recorded ticks."""
        same = (TICKS.c.entry == bindparam("of_entry"), TICKS.c.tick == bindparam("of_tick"))
        changes: dict[str, Any] = {
            "call": None,
            "state": bindparam("to_state"),
            "error": bindparam("to_error"),
        }
        settled = update(TICKS).where(*same).values(changes)
        rows = [
            {
                "of_entry": each.entry,
                "of_tick": number(each.tick),
                "to_state": each.state,
                "to_error": each.error,
            }
            for each in ticks
        ]
        if rows:
            self._run(lambda connection: connection.execute(settled, rows), rows=len(rows))

    def edit(
        self,
        ids: Collection[str],
        change: Callable[[Mapping[str, Entry], datetime], Edits],
        origin: str | None = None,
    ) -> None:
        """Change the schedule, alone."""

        def edit(connection: Connection) -> None:
            connection.execute(locked(connection, select(LEASES.c.name).where(_MINE)))
            found = self._found(connection, ids)
            if origin is not None:
                asked = select(ENTRIES).where(ENTRIES.c.origin == origin)
                found.update(_entries(connection, locked(connection, asked)))
            edits = change(found, self._now(connection))
            self._write(connection, [each for each in edits.put if each.id in found])
            new = [row_of(each) for each in edits.put if each.id not in found]
            if new:
                connection.execute(insert(ENTRIES), new)
            for part in _parts(edits.removed):
                connection.execute(delete(TICKS).where(TICKS.c.entry.in_(part)))
                connection.execute(delete(ENTRIES).where(ENTRIES.c.id.in_(part)))

        self._run(edit, rows=_MANY)

    def entries(self) -> list[Entry]:
        """Return all entries, by their keys."""
        asked = select(ENTRIES)
        rows = self._run(lambda connection: connection.execute(asked).mappings().all(), rows=_MANY)
        return sorted(
            map(entry_of, rows), key=lambda each: each.key
        )  # which may take longer than a transaction may

    def entry(self, key: str) -> Entry | None:
        """Return the entry called ``key``."""
        asked = select(ENTRIES).where(ENTRIES.c.id == id_of(key))
        return next(iter(self._run(lambda connection: _entries(connection, asked)).values()), None)

    def history(self, key: str, limit: int) -> list[Tick]:
        """Return the last ticks of an entry, the latest first."""
        asked = select(TICKS).where(TICKS.c.entry == id_of(key)).order_by(TICKS.c.tick.desc()).limit(limit)
        return self._run(lambda connection: [tick_of(row) for row in connection.execute(asked).mappings()])

    def prune(self, before: datetime) -> None:
        """Forget ticks that came to an end, and were due before that moment."""
        old = delete(TICKS).where(TICKS.c.state != RECORDED, TICKS.c.tick < number(before))
        self._run(lambda connection: connection.execute(old), rows=_MANY)

    def close(self) -> None:
        """Close this process's connections."""
        engine = self._engine.drop()
        if engine is not None:
            engine.dispose()

    def _now(self, connection: Connection) -> datetime:
        return moment(connection.execute(select(self._clock())).scalar_one())

    def _lease(self, connection: Connection) -> tuple[datetime, Lease]:
        row = connection.execute(select(LEASES, self._clock().label("now")).where(_MINE)).mappings().first()
        if row is None or row["version"] != VERSION:
            raise BeatDatabaseNotReady(
                f"The schedule's tables in {self.url} are of version {row['version'] if row else 'none'}, and this "
                f"autocelery needs {VERSION}. Run one version of autocelery everywhere; then make the tables: "
                f"{self._place.mend}"
            )
        return moment(row["now"]), Lease(row["token"], row["holder"], row["renewals"], moment(row["expires"]))

    def _renew(self, connection: Connection, token: int, seconds: float = 0.0) -> bool:
        """Whether ``token`` is still the lease's, which it stays until this transaction ends."""
        values: dict[str, Any] = {"renewals": LEASES.c.renewals + 1}
        if seconds:
            values["expires"] = number(self._now(connection)) + int(seconds * 1e6)
        mine = update(LEASES).where(_MINE, LEASES.c.token == token, LEASES.c.holder.is_not(None))
        return bool(connection.execute(mine.values(values)).rowcount)

    def _found(self, connection: Connection, ids: Collection[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for part in _parts(sorted(ids)):
            asked = select(ENTRIES).where(ENTRIES.c.id.in_(part)).order_by(ENTRIES.c.next_fire, ENTRIES.c.id)
            found.update(_entries(connection, locked(connection, asked)))
        return found

    def _write(self, connection: Connection, entries: list[Entry]) -> None:
        rows = [{f"to_{name}": value for name, value in row_of(each).items()} for each in entries]
        if not rows:
            return
        names = [each.name for each in ENTRIES.c if each.name not in ("id", "key")]
        changed = update(ENTRIES).where(ENTRIES.c.id == bindparam("to_id"))
        connection.execute(changed.values({name: bindparam(f"to_{name}") for name in names}), rows)

    def _run(
        self,
        action: Callable[[Connection], R],
        rows: int = 0,
        attempts: int = _ATTEMPTS,
        is_making: bool = False,
    ) -> R:
        for attempt in range(1, attempts + 1):
            deadline = Deadline(SECONDS + rows * _SECONDS_A_ROW)
            try:
                with self._engine.get().begin() as connection, deadline.of(connection):
                    return action(connection)
            except SQLAlchemyError as error:
                if is_forbidden(error) if is_making else lacks_table(error):
                    raise self._not_ready() from None
                if attempt == attempts or deadline.is_over or not is_passing(error):
                    raise self._unavailable(error, deadline) from None
        raise AssertionError("unreachable")

    def _not_ready(self) -> BeatDatabaseNotReady:
        return BeatDatabaseNotReady(
            f"The database {self.url} has no tables of a schedule, or old ones. Make them: {self._place.mend}"
        )

    def _unavailable(self, error: SQLAlchemyError, deadline: Deadline) -> BeatDatabaseUnavailable:
        told = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        reason = f"no answer within {deadline.seconds:.0f} seconds" if deadline.is_over else short(told)
        return BeatDatabaseUnavailable(
            f"The schedule's database {self.url} cannot be used ({reason}). Check that it runs, that address and "
            f"password in {self._place.setting} are right, and that the user may read and write the tables "
            "autocelery_beat_*."
        )


def _entries(connection: Connection, asked: Select[Any]) -> dict[str, Entry]:
    return {row["id"]: entry_of(row) for row in connection.execute(asked).mappings()}


def _known(connection: Connection, ticks: list[Tick]) -> set[tuple[str, int]]:
    """Return which of these are there already, as none should be: one would fail, and all others with it."""
    if not ticks:
        return set()
    same = (
        TICKS.c.entry.in_({each.entry for each in ticks}),
        TICKS.c.tick >= min(number(t.tick) for t in ticks),
    )
    return {
        (entry, tick) for entry, tick in connection.execute(select(TICKS.c.entry, TICKS.c.tick).where(*same))
    }


def _decided(
    due: Iterable[Entry], decide: Callable[[Entry, datetime], Decision], now: datetime
) -> Iterator[Decision]:
    """Yield decisions until they are as many as one transaction bears; the other entries stay due."""
    until, ticks = time.monotonic() + _SECONDS_TO_DECIDE, 0
    for each in due:
        decision = decide(each, now)
        yield decision
        ticks += len(decision.ticks)
        if ticks >= _MOST_TICKS or time.monotonic() > until:
            return


def _parts(ids: Collection[str]) -> Iterator[list[str]]:
    names = list(ids)
    for begin in range(0, len(names), _IDS_AT_ONCE):
        yield names[begin : begin + _IDS_AT_ONCE]
