"""What differs between SQL databases and their drivers: options, upserts, and how their errors are told apart."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Executable, Table, create_engine, or_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from autocelery._blobs.addresses import without_password
from autocelery.errors import ConfigurationError

DIALECTS = ("postgresql", "sqlite")
CONNECT_SECONDS = 3
#: How long SQLite waits for other clients' transactions, in seconds.
LOCK_SECONDS = 15
_LIBPQ = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_OPTIONS: dict[str, dict[str, Any]] = {
    "psycopg": _LIBPQ,
    "psycopg2": _LIBPQ,
    "pg8000": {"timeout": CONNECT_SECONDS},
    "pysqlite": {"timeout": LOCK_SECONDS},
}
_NO_TABLE = "42P01"
#: Serialization failure, deadlock; a table or its type that another client has made meanwhile.
_PASSING = frozenset({"40001", "40P01", "23505", "42P07", "42710"})
#: Disk full, out of memory, a value that is too large.
_FULL = frozenset({"53100", "53200", "54000"})
_FULL_SQLITE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG})


def new_engine(url: str) -> Engine:
    """Return an engine for ``url``; it connects when it is used.

    Raises:
        ConfigurationError: the address makes no sense, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        _check(parsed, url)
        driver = parsed.get_dialect()().driver
        options = {key: value for key, value in _OPTIONS.get(driver, {}).items() if key not in parsed.query}
        return create_engine(
            parsed,
            connect_args=options,
            hide_parameters=True,
            pool_timeout=CONNECT_SECONDS,
            pool_use_lifo=True,
        )
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise _wrong(url, str(error)) from None
    except ImportError as error:
        raise ConfigurationError(
            f"The blob store {without_password(url)} needs the package {error.name!r}, which is not installed "
            f"here. Run: pip install {error.name}; or name a driver that you have, as in postgresql+psycopg://"
        ) from error


def upsert(table: Table, dialect: str) -> Executable:
    """Return the statement that inserts rows or, where that changes something, replaces them."""
    inserted = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    new = inserted.excluded
    return inserted.on_conflict_do_update(
        index_elements=[table.c.name],
        set_={"content": new.content, "expires": new.expires},
        where=or_(table.c.content != new.content, table.c.expires < new.expires),
    )


def lacks_table(error: Exception) -> bool:
    """Whether a statement failed because its table is not there."""
    return _state(error) == _NO_TABLE or "no such table" in str(getattr(error, "orig", ""))


def is_passing(error: Exception) -> bool:
    """Whether the same statement may well succeed if it is run again."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return _state(error) in _PASSING or "already exists" in str(getattr(error, "orig", ""))


def is_full(error: Exception) -> bool:
    """Whether a statement failed for want of room."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return _state(error) in _FULL or code in _FULL_SQLITE


class Deadline:
    """Ends what waits for a server that answers no more, by closing the line under it.

    A driver waits without limit for an answer. Limits that the server keeps
    do not help when it is the server that has stopped.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False

    @contextmanager
    def of(self, connection: Connection) -> Iterator[None]:
        """Keep the deadline for what is run on ``connection`` inside."""
        driver_connection = connection.connection.driver_connection
        if not hasattr(driver_connection, "fileno"):
            yield  # a file, or a driver that was given its limit
            return
        timer = threading.Timer(self.seconds, self._cut, [driver_connection])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self, driver_connection: Any) -> None:
        self.is_over = True
        with suppress(Exception), socket.socket(fileno=os.dup(driver_connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)  # fails where it was closed meanwhile, which is as good


def _check(parsed: URL, url: str) -> None:
    dialect = parsed.get_dialect()
    if dialect.name not in DIALECTS:
        raise _wrong(url, f"blobs are kept in {' or '.join(DIALECTS)}, not in {dialect.name}")
    if dialect.is_async:
        raise _wrong(url, f"{parsed.drivername} is for asyncio; name another driver")
    if dialect.name == "sqlite" and not os.path.isabs(parsed.database or ""):
        raise _wrong(url, "callers and workers find the same file by an absolute path only: sqlite:////path")


def _wrong(url: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"The blob store's address {without_password(url)} is wrong: {why}.")


def _state(error: Exception) -> str | None:
    """Return the SQLSTATE, by whatever name the driver gives it."""
    original = getattr(error, "orig", None)
    told = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if told is None and original is not None and original.args and isinstance(original.args[0], dict):
        return original.args[0].get("C")  # pg8000
    return str(told) if told else None
