"""What ``dev`` has to know of the app that it runs for."""

from __future__ import annotations

import os
from dataclasses import dataclass

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery._celery.unreachable import broker_gone
from autocelery._publish import naming
from autocelery.errors import AppNotFound

#: What a broker of its own is told to the processes, and to those that the project starts elsewhere.
BROKER, RESULTS, STORE = "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "AUTOCELERY_STORE"
#: Result backends that are databases, Django's or SQLAlchemy's.
_DATABASES = ("django-db", "db+")


@dataclass(frozen=True, slots=True)
class Project:
    """An app as it comes up.

    Args:
        app: what follows ``-A``.
        has_broker: whether it has a broker that other processes can reach.
        keeps_results: whether its results are in a database: there its pages look for them, and its beat removes
            what has expired.
    """

    app: str
    has_broker: bool
    keeps_results: bool


def look_at(app: Celery, named: str | None) -> Project:
    """Return what is to be known of ``app``.

    Args:
        app: the project's.
        named: what followed ``-A``, if somebody wrote it.

    Raises:
        AppNotFound: it is in no module.
        BrokerUnavailable: its broker does not answer.
    """
    name = named or naming.name_of(app)
    if name is None:
        raise AppNotFound(
            "The app is in no module that other processes could import. Name it: autocelery -A proj dev"
        )
    has_broker = _has_broker(app)
    if has_broker:
        _see_that_it_answers(app)
    return Project(name, has_broker, keeps_results=str(app.conf.result_backend).startswith(_DATABASES))


def _has_broker(app: Celery) -> bool:
    if getattr(app, "autocelery_eager", None) is not None or app.conf.task_always_eager:
        return False
    url = os.environ.get(BROKER) or app.conf.broker_url or app.conf.broker_read_url
    return bool(url) and not str(url).startswith("memory:")


def _see_that_it_answers(app: Celery) -> None:
    with app.connection_for_read() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0.1)
        except (OperationalError, OSError) as error:
            raise broker_gone(
                app, error, "nothing was started. For one of its own: autocelery dev --own-broker"
            ) from error
