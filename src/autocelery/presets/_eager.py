"""What an app without a broker does: the one place where presets ask for it."""

from __future__ import annotations

import logging

from celery import Celery

logger = logging.getLogger("autocelery.presets")


def make_eager(app: Celery) -> None:
    """Make tasks of ``app`` run in the calling process, with results that can be looked up; say so once."""
    app.conf.task_always_eager = True
    app.conf.task_store_eager_result = True
    logger.warning(
        "No broker is configured: tasks run at once, in this process. CELERY_BROKER_URL or REDIS_URL makes them real."
    )
