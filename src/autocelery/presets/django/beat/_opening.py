"""The store of the schedule in Django's own database: connections of its own, opened as Django opens them."""

from __future__ import annotations

from functools import partial
from typing import Any

import django
from django.apps import apps
from django.db import close_old_connections, connections, router
from django.db.utils import load_backend

from autocelery._beat import overlapping
from autocelery._beat.sql_engine import Place, connecting_options, engine_of
from autocelery._beat.sql_store import SqlBeatStore
from autocelery.errors import BeatNotConfigured
from autocelery.presets.django._namespace import BEAT_APP


def open_store() -> SqlBeatStore:
    """Return the schedule in the database to which Django's routers lead; it connects when it is used.

    Raises:
        BeatNotConfigured: the app with the tables is not installed, or no schedule can be in that kind of database.
    """
    if not apps.ready:
        django.setup()
    if not apps.is_installed(BEAT_APP):
        raise BeatNotConfigured(
            f"A schedule in Django's database needs {BEAT_APP!r} in INSTALLED_APPS. Write configure(globals(), "
            'beat="database") at the end of the settings, or add it there.'
        )
    from autocelery.presets.django.beat.models import Entry

    overlapping.ask_anew_with(close_old_connections)
    return SqlBeatStore(place_of(router.db_for_write(Entry)))


def place_of(alias: str) -> Place:
    """Return one of Django's databases as a place for a schedule.

    Raises:
        BeatNotConfigured: it is of a kind that holds none.
    """
    drivername = _drivername(alias)
    option = "" if alias == "default" else f" --database {alias}"
    return Place(
        f"{alias!r} of Django's",
        partial(engine_of, drivername, partial(_connect, alias)),
        setting="DATABASES",
        mend=f"python manage.py migrate{option}",
        makes_tables=False,
    )


def _connect(alias: str) -> Any:
    """Return a connection that is not Django's own of this thread, with the same options, and none of its pool's."""
    told = connections[alias].settings_dict
    options = {name: value for name, value in told["OPTIONS"].items() if name != "pool"}
    wrapper = load_backend(told["ENGINE"]).DatabaseWrapper({**told, "OPTIONS": options}, alias)
    driver = _drivername(alias).partition("+")[2] or "pysqlite"
    ours = {} if "service" in options else connecting_options(driver)
    return wrapper.get_new_connection({**ours, **wrapper.get_connection_params()})


def _drivername(alias: str) -> str:
    """Return dialect and driver as SQLAlchemy calls them."""
    connection = connections[alias]
    if connection.vendor == "postgresql":
        from django.db.backends.postgresql.psycopg_any import is_psycopg3

        return "postgresql+psycopg" if is_psycopg3 else "postgresql+psycopg2"
    if connection.vendor == "mysql":
        return "mysql+pymysql" if connection.Database.__name__ == "pymysql" else "mysql+mysqldb"
    if connection.vendor == "sqlite":
        return "sqlite"
    raise BeatNotConfigured(
        f"The database {alias!r} is of {connection.vendor}; a schedule is kept in PostgreSQL, MariaDB or SQLite. Lead "
        "the app autocelery_beat to one with a router, or name one in CELERY_BEAT_DATABASE_URL."
    )
