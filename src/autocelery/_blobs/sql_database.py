"""Statements on a SQL database through SQLAlchemy: bounded in time, repeated where that mends, errors typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Select, Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from autocelery._blobs.addresses import short, without_password
from autocelery._blobs.per_process import PerProcess
from autocelery._blobs.sql_dialects import Deadline, is_full, is_passing, lacks_table, new_engine, upsert
from autocelery.errors import StoreFull, StoreUnavailable

R = TypeVar("R")

#: How long a statement may take, in seconds, and what it may take longer for what it carries: bytes a second.
SECONDS = 10.0
SLOWEST_LINE = 2**20
#: A closed connection or a deadlock mends itself; more than a few in a row is trouble to tell of.
_ATTEMPTS = 4
#: A single statement needs no transaction around it, which would be two round trips more.
_ALONE: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT"}


class Database:
    """One table of a database. Owns a pool of connections, each process its own.

    Args:
        url: as SQLAlchemy writes it.
        table: made when it is first put to.

    Raises:
        ConfigurationError: the driver is not installed, or the address makes no sense.
    """

    def __init__(self, url: str, table: Table) -> None:
        self.url = without_password(url)
        self._table = table
        self._engine = PerProcess(lambda: new_engine(url))
        self._upsert = upsert(table, self._engine.get().dialect.name)

    def rows(self, statement: Select[Any], size: int = 0) -> list[tuple[Any, ...]]:
        """Return what a query finds: nothing, where there is no table yet.

        Args:
            statement: the query.
            size: bytes that the answer may have.

        Raises:
            StoreUnavailable: the database does not answer, or refuses.
        """
        return self._run(partial(_fetch, statement), size, list, _ALONE)

    def change(self, statement: Executable) -> None:
        """Run an update or delete, which has nothing to do where there is no table.

        Raises:
            StoreUnavailable: the database does not answer, or refuses.
        """
        self._run(partial(_execute, statement, None), 0, lambda: None, _ALONE)

    def put(self, rows: list[dict[str, Any]], size: int) -> None:
        """Insert or replace rows in one transaction, and make the table if there is none.

        Args:
            rows: values by column.
            size: bytes in them.

        Raises:
            StoreUnavailable: the database does not answer, or refuses.
            StoreFull: it has no room.
        """
        insert = partial(_execute, self._upsert, rows)
        made_first = partial(_make, self._table, insert)
        self._run(insert, size, without_table=lambda: self._run(made_first, size))

    def close(self) -> None:
        """Close this process's connections."""
        engine = self._engine.drop()
        if engine is not None:
            engine.dispose()

    def _run(
        self,
        action: Callable[[Connection], R],
        size: int,
        without_table: Callable[[], R] | None = None,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> R:
        for attempt in range(1, _ATTEMPTS + 1):
            deadline = Deadline(SECONDS + size / SLOWEST_LINE)
            try:
                with (
                    self._engine.get().execution_options(**options).begin() as connection,
                    deadline.of(connection),
                ):
                    return action(connection)
            except SQLAlchemyError as error:
                if without_table is not None and lacks_table(error):
                    break
                if attempt == _ATTEMPTS or deadline.is_over or not is_passing(error):
                    raise self._typed(error, deadline) from None
        assert without_table is not None
        return without_table()

    def _typed(self, error: SQLAlchemyError, deadline: Deadline) -> StoreFull | StoreUnavailable:
        told = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        reason = f"no answer within {deadline.seconds:.0f} seconds" if deadline.is_over else short(told)
        if is_full(error):
            return StoreFull(
                f"The blob store {self.url} has no room ({reason}). Free some of that disk, or name another "
                "store in AUTOCELERY_STORE."
            )
        return StoreUnavailable(
            f"The blob store {self.url} cannot be used ({reason}). Check that the database runs, that address "
            f"and password are right and that the user may make and change the table {self._table.name}, or "
            "name another store in AUTOCELERY_STORE."
        )


def _fetch(statement: Select[Any], connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(statement)]


def _execute(statement: Executable, rows: list[dict[str, Any]] | None, connection: Connection) -> None:
    connection.execute(statement, rows)


def _make(table: Table, then: Callable[[Connection], None], connection: Connection) -> None:
    """Make the table and go on; of several that make it at once all but one fail, and come again."""
    table.create(connection, checkfirst=True)
    then(connection)
