"""Reading the tables of django-celery-beat, of any of its versions, without Django; nothing is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, String, cast, column, create_engine, inspect, select, table
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from autocelery._beat.sql_engine import CONNECT_SECONDS
from autocelery._blobs.addresses import short, without_password
from autocelery.errors import BeatSourceUnavailable

Row = Mapping[str, Any]
#: By the names of the tables after their prefix; those before 2.0 lack some columns.
COLUMNS = {
    "periodictask": (
        *("id", "name", "task", "args", "kwargs", "queue", "exchange", "routing_key", "headers", "priority"),
        *("expires", "expire_seconds", "one_off", "start_time", "enabled", "last_run_at", "total_run_count"),
        *("description", "interval_id", "crontab_id", "solar_id", "clocked_id"),
    ),
    "crontabschedule": (
        *("id", "minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"),
    ),
    "intervalschedule": ("id", "every", "period"),
    "solarschedule": ("id", "event", "latitude", "longitude"),
    "clockedschedule": ("id", "clocked_time"),
}
_PREFIX = "django_celery_beat_"
_NEEDED = {
    "periodictask": {"id", "name", "task", "enabled"},
    "crontabschedule": {"id"},
    "intervalschedule": {"id"},
}
#: Drivers refuse moments that Python has none for, and all rows with them: they are read as texts.
_MOMENTS = frozenset({"expires", "start_time", "last_run_at", "clocked_time"})


def read(url: str) -> dict[str, list[Row]]:
    """Return the rows of each table, the periodic tasks by their names; a table that is not there has none.

    Raises:
        BeatSourceUnavailable: the database cannot be read, or has no such tables.
    """
    with _connected(url) as connection:
        known = set(inspect(connection).get_table_names())
        if f"{_PREFIX}periodictask" not in known:
            raise BeatSourceUnavailable(
                f"The database {without_password(url)} has no table {_PREFIX}periodictask. Name that of the Django "
                "project: --database postgresql+psycopg://user@host/database"
            )
        return {name: _rows(connection, name) if _PREFIX + name in known else [] for name in COLUMNS}


def _rows(connection: Connection, name: str) -> list[Row]:
    there = {each["name"] for each in inspect(connection).get_columns(_PREFIX + name)}
    lacking = _NEEDED.get(name, set()) - there
    if lacking:
        raise BeatSourceUnavailable(
            f"The table {_PREFIX}{name} has no {', '.join(sorted(lacking))}: it is not one of django-celery-beat's."
        )
    shown = [
        cast(column(each), String).label(each) if each in _MOMENTS else column(each)
        for each in COLUMNS[name]
        if each in there
    ]
    asked = select(*shown).select_from(table(_PREFIX + name)).order_by(column("id"))
    return [dict(row) for row in connection.execute(asked).mappings()]


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Lend a connection that may only read, in one transaction: what is read is of one moment."""
    engine = None
    try:
        engine = _engine(url)
        with engine.connect() as connection:
            if engine.dialect.name in ("mysql", "mariadb"):
                connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            yield connection
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise BeatSourceUnavailable(f"The address {without_password(url)} is wrong: {error}.") from None
    except ImportError as error:
        raise BeatSourceUnavailable(
            f"The database {without_password(url)} needs the package {error.name!r}. Run: pip install {error.name}; or "
            "name a driver that you have, as in postgresql+psycopg://"
        ) from None
    except SQLAlchemyError as error:
        told = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        raise BeatSourceUnavailable(
            f"The database {without_password(url)} cannot be read ({short(told)}). Check that it runs, and that "
            "address, user and password are right."
        ) from None
    finally:
        if engine is not None:
            engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url.removeprefix("db+"))
    name = parsed.get_dialect().name
    if name == "sqlite":
        return create_engine("sqlite://", creator=lambda: _opened(parsed), poolclass=NullPool)
    options: dict[str, Any] = {"hide_parameters": True, "poolclass": NullPool}
    if name == "postgresql":
        options["execution_options"] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    if parsed.get_dialect()().driver in ("psycopg", "psycopg2", "pymysql"):
        options["connect_args"] = {"connect_timeout": CONNECT_SECONDS}
    return create_engine(parsed, **options)


def _opened(parsed: URL) -> sqlite3.Connection:
    """Return a connection to a file that has to be there; what is no UTF-8 in it is read all the same."""
    opened = sqlite3.connect(f"file:{quote(parsed.database or '')}?mode=ro", uri=True)
    opened.text_factory = lambda told: told.decode("utf-8", "replace")
    return opened
