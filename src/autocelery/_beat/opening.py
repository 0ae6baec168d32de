"""Where an app's schedule is stored."""

from __future__ import annotations

import os

from celery import Celery

from autocelery._beat.store import BeatStore
from autocelery.errors import BeatNotConfigured

VARIABLE = "CELERY_BEAT_DATABASE_URL"
_MISSING = (
    "The schedule's database is not named. Set beat_database_url (in Django: CELERY_BEAT_DATABASE_URL), or the "
    "environment variable CELERY_BEAT_DATABASE_URL: postgresql+psycopg://user@host/database, "
    "mysql+pymysql://user@host/database or sqlite:////path"
)


def open_store(app: Celery) -> BeatStore:
    """Return the database with the schedule of ``app``; it connects when it is used.

    Raises:
        BeatNotConfigured: none is named, what names it makes no sense, or what it needs is not installed.
    """
    url = os.environ.get(VARIABLE) or app.conf.get("beat_database_url")
    if not url:
        raise BeatNotConfigured(_MISSING)
    try:
        from autocelery._beat.sql_store import SqlBeatStore
    except ModuleNotFoundError as error:
        raise BeatNotConfigured(
            f"A schedule in a database needs {error.name}, which is not installed. Run: pip install 'autocelery[beat]'"
        ) from error
    return SqlBeatStore(str(url).removeprefix("db+"))
