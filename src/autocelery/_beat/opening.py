"""Where an app's schedule is stored."""

from __future__ import annotations

import os

from celery import Celery
from celery.utils.imports import symbol_by_name

from autocelery._beat.store import BeatStore
from autocelery.errors import BeatNotConfigured

VARIABLE = "CELERY_BEAT_DATABASE_URL"
_MISSING = (
    "The schedule's database is not named. Set beat_database_url, or the environment variable "
    "CELERY_BEAT_DATABASE_URL: postgresql+psycopg://user@host/database, mysql+pymysql://user@host/database or "
    'sqlite:////path. In Django, configure(globals(), beat="database") has it in Django\'s own database.'
)
#: What names the database of a framework, and what opens a schedule in it.
_OF_FRAMEWORKS = {"django-db": "autocelery.presets.django.beat._opening:open_store"}


def open_store(app: Celery) -> BeatStore:
    """Return the database with the schedule of ``app``; it connects when it is used.

    Raises:
        BeatNotConfigured: none is named, what names it makes no sense, or what it needs is not installed.
    """
    url = address_of(app)
    try:
        if url in _OF_FRAMEWORKS:
            store: BeatStore = symbol_by_name(_OF_FRAMEWORKS[url])()
            return store
        from autocelery._beat.sql_store import SqlBeatStore
    except ModuleNotFoundError as error:
        raise BeatNotConfigured(
            f"A schedule in a database needs {error.name}, which is not installed. Run: pip install 'autocelery[beat]'"
        ) from error
    return SqlBeatStore(url)


def address_of(app: Celery) -> str:
    """Return the address of the database with the schedule of ``app``.

    Raises:
        BeatNotConfigured: none is named.
    """
    url = os.environ.get(VARIABLE) or app.conf.get("beat_database_url")
    if not url:
        raise BeatNotConfigured(_MISSING)
    return str(url).removeprefix("db+")
