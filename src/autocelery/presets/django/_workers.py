"""What a worker looks at before it starts."""

from __future__ import annotations

import logging

import django
from django.db import DatabaseError, connections, router
from django.db.migrations.executor import MigrationExecutor

from autocelery.errors import BrokerNotConfigured, DatabaseNotMigrated
from autocelery.presets.django import _hosts, _settling
from autocelery.presets.django._namespace import RESULTS_APP

logger = logging.getLogger("autocelery.presets")


def check() -> None:
    """See that a worker could take tasks and store their results.

    Raises:
        BrokerNotConfigured: there is no broker.
        DatabaseNotMigrated: the tables of the results are missing.
    """
    django.setup()
    configured = _settling.settle()
    if configured is None:
        return
    if configured.settings.broker is None:
        raise BrokerNotConfigured(
            "A worker needs a broker, and none is configured. Set REDIS_URL or CELERY_BROKER_URL in the environment, "
            "or CELERY_BROKER_URL in the settings."
        )
    _hosts.tell_hosts()
    if configured.settings.values().get("result_backend") == "django-db":
        check_tables()


def check_tables() -> None:
    """See that the tables of the results are there and up to date.

    A database that does not answer is no reason to end: it may come.

    Raises:
        DatabaseNotMigrated: they are not.
    """
    from django_celery_results.models import TaskResult

    alias = router.db_for_write(TaskResult)
    try:
        executor = MigrationExecutor(connections[alias])
        targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] == RESULTS_APP]
        plan = executor.migration_plan(targets)
    except DatabaseError as error:
        logger.warning("The database %r did not say whether it is migrated: %s", alias, error)
        return
    finally:
        connections[alias].close()
    if plan:
        raise DatabaseNotMigrated(not_migrated(alias))


def not_migrated(alias: str = "default") -> str:
    """Return what to do where the tables are missing."""
    option = "" if alias == "default" else f" --database {alias}"
    return (
        f"The database {alias!r} lacks tables of {RESULTS_APP}, where CELERY_RESULT_BACKEND = 'django-db' stores "
        f"results. Make them: python manage.py migrate{option}"
    )
