"""What differs between the databases that hold a schedule: options, limits, their clocks, and locks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    literal,
    literal_column,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from autocelery._blobs.addresses import without_password
from autocelery.errors import BeatNotConfigured

DIALECTS = ("postgresql", "mariadb", "mysql", "sqlite")
#: How long, in seconds, a connection, a lock and a statement may take.
CONNECT_SECONDS, LOCK_SECONDS, SECONDS = 3, 5, 10.0
#: A process that is frozen inside a transaction must not hold its locks for longer, in seconds.
IDLE_SECONDS = 5
_LIBPQ = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_MYSQL = {"connect_timeout": CONNECT_SECONDS, "read_timeout": SECONDS, "write_timeout": SECONDS}
_OPTIONS: dict[str, dict[str, Any]] = {
    "psycopg": _LIBPQ,
    "psycopg2": _LIBPQ,
    "pymysql": _MYSQL,
    "mysqldb": {"connect_timeout": CONNECT_SECONDS},
    "pysqlite": {"timeout": LOCK_SECONDS},
}
_POSTGRESQL_LIMITS = (
    f"SET lock_timeout = '{LOCK_SECONDS}s'",
    f"SET statement_timeout = '{SECONDS:g}s'",
    f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'",
)
_MYSQL_LIMITS = ("SET time_zone = '+00:00'", f"SET innodb_lock_wait_timeout = {LOCK_SECONDS}")
_MARIADB_LIMITS = (*_MYSQL_LIMITS, f"SET idle_transaction_timeout = {IDLE_SECONDS}")
_LIMITS = {"postgresql": _POSTGRESQL_LIMITS, "mysql": _MYSQL_LIMITS, "mariadb": _MARIADB_LIMITS}
_SQLITE_LIMITS = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL")
_NO_TABLE = ("42P01", 1146, 1049)
_NO_COLUMN = ("42703", 1054)
_FORBIDDEN = ("42501", 1044, 1142, 1227)
#: Serialization failure, deadlock, a lock that was waited for in vain, and a table that another made meanwhile.
_PASSING = ("40001", "40P01", "55P03", "23505", "42P07", 1020, 1050, 1062, 1205, 1213)


@dataclass(frozen=True, slots=True)
class Place:
    """A database that holds a schedule, and what messages say of it.

    Args:
        name: what messages call it.
        new_engine: returns an engine, which connects when it is used.
        setting: where its address and password are said.
        mend: how its tables are made.
        makes_tables: whether a store makes them itself, where it may.
    """

    name: str
    new_engine: Callable[[], Engine]
    setting: str = "beat_database_url"
    mend: str = "beat does if its user may; else run, as a user who may: autocelery -A proj beat migrate"
    makes_tables: bool = True


def place_of(url: str) -> Place:
    """Return the database at ``url``, as SQLAlchemy writes it.

    Raises:
        BeatNotConfigured: the address makes no sense, or its driver is not installed; when an engine is asked for.
    """
    return Place(without_password(url), lambda: new_engine(url))


def new_engine(url: str) -> Engine:
    """Return an engine for ``url``; it connects when it is used.

    Raises:
        BeatNotConfigured: the address makes no sense, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        _check(parsed, url)
        driver = parsed.get_dialect()().driver
        options = {key: value for key, value in _OPTIONS.get(driver, {}).items() if key not in parsed.query}
        isolation = {} if parsed.get_dialect().name == "sqlite" else {"isolation_level": "READ COMMITTED"}
        engine = create_engine(
            parsed,
            connect_args=options,
            hide_parameters=True,
            pool_timeout=CONNECT_SECONDS,
            pool_use_lifo=True,
            **isolation,
        )
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise _wrong(url, str(error)) from None
    except ImportError as error:
        raise BeatNotConfigured(
            f"The schedule's database {without_password(url)} needs the package {error.name!r}, which is not installed "
            f"here. Run: pip install {error.name}; or name a driver that you have, as in postgresql+psycopg://"
        ) from error
    _listen(engine, _LIMITS | {"sqlite": _SQLITE_LIMITS})
    return engine


def engine_of(drivername: str, connect: Callable[[], Any]) -> Engine:
    """Return an engine on connections that ``connect`` opens, each its own; how a file is journaled stays as it is.

    Args:
        drivername: dialect and driver, ``postgresql+psycopg`` for example.
        connect: returns a new connection of that driver.
    """
    isolation = {} if drivername.startswith("sqlite") else {"isolation_level": "READ COMMITTED"}
    engine = create_engine(
        URL.create(drivername),
        creator=connect,
        hide_parameters=True,
        poolclass=QueuePool,
        pool_timeout=CONNECT_SECONDS,
        pool_use_lifo=True,
        **isolation,
    )
    _listen(engine, _LIMITS)
    return engine


def connecting_options(driver: str) -> dict[str, Any]:
    """Return what a driver is told, so that no connection is waited for without an end."""
    return dict(_OPTIONS.get(driver, {}))


def clock_of(engine: Engine) -> Callable[[], ColumnElement[int]]:
    """Return what a statement selects to learn the time of the database, in microseconds since the epoch."""
    expressions = {
        "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        "mysql": "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)",
    }
    name = "mysql" if engine.dialect.name == "mariadb" else engine.dialect.name
    if name not in expressions:  # SQLite has no clock but that of the process
        return lambda: literal(time.time_ns() // 1000, BigInteger)
    return lambda: literal_column(expressions[name], BigInteger)


def lacks_table(error: Exception) -> bool:
    """Whether a statement failed because its table, or a column of it, is not there."""
    text = str(getattr(error, "orig", ""))
    return _code(error) in (*_NO_TABLE, *_NO_COLUMN) or "no such table" in text or "no such column" in text


def is_forbidden(error: Exception) -> bool:
    """Whether a statement failed because the user may not run it."""
    return _code(error) in _FORBIDDEN or "readonly database" in str(getattr(error, "orig", ""))


def is_passing(error: Exception) -> bool:
    """Whether the same transaction may well succeed if it is run again."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    text = str(getattr(error, "orig", ""))
    return _code(error) in _PASSING or "already exists" in text or "database is locked" in text


def _listen(engine: Engine, limits: Mapping[str, tuple[str, ...]]) -> None:
    """Have each connection keep the limits of its dialect, and each transaction begin as a store needs it."""
    name = engine.dialect.name

    def limit(connection: Any, _record: object) -> None:
        if name == "sqlite":
            connection.isolation_level = None  # transactions begin where SQLAlchemy says so, see below
        cursor = connection.cursor()
        for statement in _of_server(limits.get(name, ()), connection):
            cursor.execute(statement)
        cursor.close()
        if name == "postgresql":
            connection.commit()

    event.listen(engine, "connect", limit)
    if engine.dialect.driver == "psycopg":
        event.listen(engine, "do_executemany", _one_by_one)
    if name == "sqlite":
        # A transaction that reads first and writes later would fail where another wrote in between.
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))


def _one_by_one(cursor: Any, statement: str, rows: Iterable[Any], _context: object) -> bool:
    """Send rows one after the other, where psycopg would send them as a pipeline.

    In the middle of a pipeline a transaction counts as active, also while its process is frozen: none of
    PostgreSQL's limits ends it then, and its locks are held for as long.
    """
    for row in rows:
        cursor.execute(statement, row)
    return True


def _of_server(limits: tuple[str, ...], connection: Any) -> tuple[str, ...]:
    """MariaDB that is addressed as MySQL knows its own limits too."""
    told = connection.get_server_info() if hasattr(connection, "get_server_info") else ""
    return _MARIADB_LIMITS if "MariaDB" in str(told) else limits


def _check(parsed: URL, url: str) -> None:
    dialect = parsed.get_dialect()
    if dialect.name not in DIALECTS:
        raise _wrong(url, f"a schedule is kept in {', '.join(DIALECTS)}, not in {dialect.name}")
    if dialect.is_async:
        raise _wrong(url, f"{parsed.drivername} is for asyncio; name another driver")
    if dialect.name == "sqlite" and not os.path.isabs(parsed.database or ""):
        raise _wrong(url, "all instances find the same file by an absolute path only: sqlite:////path")


def _wrong(url: str, why: str) -> BeatNotConfigured:
    return BeatNotConfigured(
        f"The address of the schedule's database, {without_password(url)}, is wrong: {why}. "
        "Correct beat_database_url, or CELERY_BEAT_DATABASE_URL."
    )


def _code(error: Exception) -> object:
    """Return the SQLSTATE, or MySQL's number."""
    original = getattr(error, "orig", None)
    arguments = getattr(original, "args", ())
    if arguments and isinstance(arguments[0], int):
        return arguments[0]
    return getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)


def locked(connection: Connection, statement: Any) -> Any:
    """Return ``statement`` with a lock on its rows; SQLite has locked the whole file already."""
    return statement if connection.dialect.name == "sqlite" else statement.with_for_update()
