"""A worker that parks what it cannot run: the strategy of tasks with ``signature="park"``, and what is asked back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from celery import Celery
from celery.app.task import Context
from celery.utils.time import maybe_iso8601, maybe_make_aware
from celery.worker.strategy import default

from autocelery._celery import parked, signatures
from autocelery.errors import SignatureMismatch
from autocelery_host.shapes import SIGNATURE
from autocelery_host.stamping import shape_of_task

logger = logging.getLogger(__name__)

#: The state of a call whose message waits in a parking queue.
STATE = "PARKED"


def strategy(task: Any, app: Celery, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Return the handler of messages for a task that parks what does not fit it."""
    take = default(task, app, consumer, **kwargs)
    own = str(shape_of_task(task))

    def handle(message: Any, body: Any, ack: Any, reject: Any, *args: Any, **options: Any) -> Any:
        if (message.headers or {}).get(SIGNATURE) == own:
            return take(message, body, ack, reject, *args, **options)
        reason = why_not(task, message)
        if not reason:
            return take(message, body, ack, reject, *args, **options)
        parked.park(app, message, reason)
        ack(logger, consumer.connection_errors)
        _tell(task, consumer, message, reason)
        return None

    return handle


def why_not(task: Any, message: Any) -> str:
    """Return why ``task`` cannot run ``message``; nothing if it can, or if that is Celery's to settle.

    What has expired is Celery's to revoke, what cannot be read is Celery's to refuse.
    """
    try:
        if _has_expired(task.app, message):
            return ""
        args, kwargs, *_ = message.payload
        return signatures.fitting(task, message.headers.get(SIGNATURE), tuple(args), dict(kwargs))[1]
    except SignatureMismatch as exc:
        return exc.message
    except Exception as exc:  # noqa: BLE001 - kombu's, the serializer's, and that of any class in a pickle
        logger.debug("A message of %s was not looked at: %s", task.name, exc)
        return ""


def _has_expired(app: Celery, message: Any) -> bool:
    told = message.headers.get("expires")
    return told is not None and maybe_make_aware(maybe_iso8601(told), app.timezone) < datetime.now(UTC)


def ask_back_beside(app: Celery) -> None:
    """Ask back what waits for the tasks of ``app``, in a thread that ends when that is done."""
    threading.Thread(target=ask_back, args=(app,), name="autocelery-parked", daemon=True).start()


def ask_back(app: Celery) -> None:
    """Have what waits for the tasks of ``app``, and fits them, sent again; what the broker refuses waits on."""
    for task in list(app.tasks.values()):
        if signatures.policy_of(task) != signatures.PARK:
            continue
        try:
            moved = parked.release(app, task.name, partial(_fits, task)).moved
        except Exception:
            logger.warning("What is parked for %s was not looked at.", task.name, exc_info=True)
            continue
        if moved:
            logger.info("%d parked messages of %s fit this worker, and are queued again.", moved, task.name)


def _fits(task: Any, message: Any) -> bool:
    return not why_not(task, message)


def _tell(task: Any, consumer: Any, message: Any, reason: str) -> None:
    headers = message.headers
    logger.warning("%s[%s] is parked: %s", task.name, headers["id"], reason)
    if consumer.event_dispatcher and consumer.event_dispatcher.enabled:
        consumer.event_dispatcher.send("task-parked", uuid=headers["id"], name=task.name, reason=reason)
    if task.ignore_result or headers.get("ignore_result"):
        return
    context = Context({**headers, **message.properties})
    try:
        task.backend.store_result(headers["id"], {"reason": reason}, STATE, request=context)
    except Exception:
        logger.warning("That %s is parked could not be written to the results.", headers["id"], exc_info=True)
