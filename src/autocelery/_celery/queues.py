"""Which queues an app has, what one is declared with, and how many messages wait in it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery import Celery
from celery.app.task import Task


def arguments_of(kind: str | None) -> dict[str, str] | None:
    """Return what a queue of this type is declared with; classic ones say nothing, as all did once."""
    return {"x-queue-type": kind} if kind and kind != "classic" else None


def names_of_all(app: Celery) -> list[str]:
    """Return the names of all queues that ``app`` has, sorted: those of its settings, and those its tasks go to.

    Celery itself lists a queue that is named only in ``task_routes``, or where a task is declared, once something
    was sent to it.
    """
    return sorted({*app.amqp.queues, *(queue_of(task) for task in app.tasks.values())})


def queue_of(task: Task) -> str:
    """Return the name of the queue that calls of ``task`` go to unless they say otherwise."""
    queue = getattr(task, "queue", None)
    if not queue:
        # What is suppressed: a queue that the settings do not have; a router of the project's that looks at arguments.
        with suppress(LookupError, TypeError, ValueError, AttributeError):
            queue = task.app.amqp.router.route({}, task.name, task_type=task).get("queue")
    return str(getattr(queue, "name", queue) or task.app.conf.task_default_queue)


def length_of(connection: Any, name: str) -> int | None:
    """Return how many messages wait in the queue ``name``, of all priorities; ``None`` where there is no such queue.

    Where queues are kombu's own doing, as on Redis, one that is empty is not there, and has none.

    Args:
        connection: kombu's.
        name: of the queue.
    """
    try:
        with connection.channel() as channel:
            if connection.transport.driver_type == "redis":
                # Declared passively, a queue is not found: kombu looks for it without its key prefix.
                return int(channel._size(name))
            return int(channel.queue_declare(name, passive=True).message_count)
    except connection.channel_errors:
        return None if connection.transport.driver_type == "amqp" else 0
