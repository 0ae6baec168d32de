"""Whether a worker takes the live calls that this process sends: else they wait, and nobody says so."""

from __future__ import annotations

import logging
import time

from celery import Celery

from autocelery._celery import attending
from autocelery._celery.queues import length_of

logger = logging.getLogger(__name__)

#: Seconds after a call before anything is asked: by then a worker that is not busy has taken it.
_GRACE = 1.0


def look_after_live_calls_of(app: Celery) -> None:
    """Have a process that sends live calls of ``app`` warn where they wait and no worker that runs them answers."""
    attending.look_after(app, lambda queue, is_live: is_live, tell)


def tell(app: Celery, task: str, routing_key: str) -> None:
    """Warn if a call still waits, and no worker answers that would take it; where nothing waits nobody is asked."""
    time.sleep(_GRACE)
    if app._pool is None or getattr(app, "autocelery_eager", None) is not None:
        return  # it was closed since, or has no workers
    if not _waits(app, routing_key):
        return
    from autocelery._publish import inspecting, naming

    able = [each for each in inspecting.workers(app, attending.PATIENCE) if each.runs_live_calls]
    if any(routing_key in each.queues for each in able):
        return
    logger.warning(
        "A live call of %s waits in the queue %r, and no worker with autocelery answers that listens to it. Start "
        "one: celery %s worker -Q %s; a busy one with the solo pool answers, and takes it, when it is done.",
        task,
        routing_key,
        naming.options_of(app),
        routing_key,
    )


def _waits(app: Celery, queue: str) -> bool:
    """Whether messages wait in the queue of that name, on a broker by which workers can be asked."""
    with app.connection_for_write() as connection:
        can_ask = "fanout" in connection.transport.implements.exchange_type
        return can_ask and bool(length_of(connection, queue))
