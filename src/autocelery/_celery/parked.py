"""The parking queues: one for each task, where messages wait that no worker could run as they are.

A parked message is the message as it was, with one more header that says why it waits and where it
came from. Who parks it acknowledges it after that: a process that dies in between leaves it in both places,
and the task's id is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from celery import Celery
from kombu.entity import Queue

from autocelery._celery import moving
from autocelery_host.shapes import SIGNATURE

logger = logging.getLogger(__name__)

PARKED: Final = "autocelery_parked"
_PREFIX: Final = "autocelery.parked."


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that waits.

    Args:
        task_id: of its call.
        task: the task's name.
        sent_for: the shape that it was sent for, as the header says it.
        reason: why it did not fit.
        exchange: where it was published.
        routing_key: and how.
        at: when it was parked, in ISO 8601, UTC.
    """

    task_id: str
    task: str
    sent_for: str
    reason: str
    exchange: str
    routing_key: str
    at: str


class Released(NamedTuple):
    """How many messages were moved to where they came from, and how many were left where they wait."""

    moved: int
    kept: int


def queue_of(task: str) -> Queue:
    """Return the parking queue of a task.

    It is never a quorum queue: each look at it is a delivery, of which RabbitMQ counts twenty there, and
    then removes the message.
    """
    name = _PREFIX + task
    return Queue(name, routing_key=name, durable=True, queue_arguments={"x-queue-type": "classic"})  # type: ignore[no-untyped-call]


def park(app: Celery, message: Any, reason: str) -> Parked:
    """Put ``message`` into its task's parking queue; whoever calls acknowledges it then."""
    headers, came = message.headers, message.delivery_info
    told = {
        "reason": reason,
        "exchange": came.get("exchange") or "",
        "routing_key": came.get("routing_key") or "",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    parked = _parked(headers, told)
    queue = queue_of(parked.task)
    with moving.publishing(app) as publish:
        publish(message, "", queue.name, {**headers, PARKED: told}, declare=[queue])
    return parked


def look(app: Celery, task: str, most: int) -> list[Parked]:
    """Return what waits for a task, ``most`` messages at most; they stay where they are."""
    with closing(moving.waiting(app, queue_of(task).name, most)) as waiting:
        return [_parked_of(message) for message, _ in waiting]


def release(app: Celery, task: str, fits: Callable[[Any], bool]) -> Released:
    """Move the messages that wait for a task, and that fit, to where they came from; return how many did.

    A worker that they do not fit parks them again at once, so what waits afterwards may be the same messages.

    Args:
        app: whose queues these are.
        task: the task's name.
        fits: says of a message whether it may go.
    """
    moved = kept = 0
    with closing(moving.waiting(app, queue_of(task).name)) as waiting:
        for message, move in waiting:
            if not fits(message):
                kept += 1
                continue
            told = _parked_of(message)
            headers = {name: value for name, value in message.headers.items() if name != PARKED}
            routing_key = told.routing_key or app.conf.task_default_queue
            try:
                moved += move(told.exchange, routing_key, headers)
            except moving.NoQueue as exc:
                kept += 1
                logger.warning("%s[%s] stays parked: %s.", task, told.task_id, exc)
    return Released(moved, kept)


def _parked_of(message: Any) -> Parked:
    return _parked(message.headers, message.headers.get(PARKED) or {})


def _parked(headers: Mapping[str, Any], told: Mapping[str, Any]) -> Parked:
    return Parked(
        task_id=headers.get("id", ""),
        task=headers.get("task", ""),
        sent_for=str(headers.get(SIGNATURE, "")),
        reason=str(told.get("reason", "")),
        exchange=str(told.get("exchange", "")),
        routing_key=str(told.get("routing_key", "")),
        at=str(told.get("at", "")),
    )
