"""Some of the messages that wait in queues, looked at where they are."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery
from kombu import serialization
from kombu.compression import decompress
from kombu.exceptions import ContentDisallowed, DecodeError

from autocelery._celery.queues import length_of
from autocelery._celery.sending_once import plain, prefix_of
from autocelery_host.header import HEADER, LIVE_TASK

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Queued:
    """One message, as its producer wrote it."""

    queue: str
    headers: Mapping[str, Any]
    content_type: str
    content_encoding: str
    body: bytes

    @property
    def task(self) -> str:
        """The name of the task that it calls; of a live call, the real one."""
        name = self.headers.get("task") or ""
        return str((self.headers.get(HEADER) or {}).get("task", name) if name == LIVE_TASK else name)

    @property
    def arguments_shown(self) -> str:
        """Its arguments as the producer wrote them for events."""
        return f"{self.headers.get('argsrepr') or ''} {self.headers.get('kwargsrepr') or ''}".strip()

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return its args and kwargs; ``None`` where it is not JSON, or no task's: nothing is ever unpickled here."""
        try:
            args, kwargs, *_ = serialization.loads(  # type: ignore[no-untyped-call]
                self._unpacked(),
                self.content_type,
                self.content_encoding or "utf-8",
                accept={"application/json"},
            )
            return tuple(args), dict(kwargs)
        except (DecodeError, ContentDisallowed, TypeError, ValueError):
            return None

    def _unpacked(self) -> bytes:
        """Return its body as it was before the producer compressed it.

        Raises:
            ValueError: it cannot be decompressed here.
        """
        compression = self.headers.get("compression")
        if not compression:
            return self.body
        try:
            return bytes(decompress(self.body, compression))  # type: ignore[no-untyped-call]
        except Exception as exc:  # not known here, or the library has its own for what is broken
            raise ValueError(f"a body in {compression} cannot be read: {exc}") from exc


def sample(app: Celery, connection: Any, queues: Sequence[str], most: int) -> Iterator[Queued]:
    """Yield the first messages of each queue, ``most`` at most; every one of them stays where it is.

    From Redis they are read with ``LRANGE``. RabbitMQ shows a message only
    by delivering it: it is not acknowledged, and goes back to its place
    when the channel is closed, marked as delivered before. A quorum queue
    counts that, and gives up a message after some deliveries: it is left
    alone. Of other brokers nothing is read.

    Args:
        app: which says of what type its queues are.
        connection: to its broker.
        queues: their names.
        most: messages of each, and on Redis of each priority.
    """
    kind = connection.transport.driver_type
    for queue in queues:
        if kind == "redis":
            yield from _of_redis(connection, queue, most)
        elif kind == "amqp" and counts_deliveries(app, queue):
            if length_of(connection, queue):
                logger.warning(
                    "%s is a quorum queue, to which a look is a delivery: it was not looked at.", queue
                )
        elif kind == "amqp":
            yield from _of_rabbitmq(connection, queue, most)


def counts_deliveries(app: Celery, name: str) -> bool:
    """Whether a look at this queue of RabbitMQ would be one of the deliveries that a message has."""
    declared = app.amqp.queues.get(name)
    own = ((declared.queue_arguments if declared is not None else None) or {}).get("x-queue-type")
    return bool((own or app.conf.get("task_default_queue_type")) == "quorum")


def _of_redis(connection: Any, queue: str, most: int) -> Iterator[Queued]:
    with connection.channel() as channel:
        for _, raw in raw_in_redis(channel, queue, most):
            found = _parsed(queue, raw)
            if found is not None:
                yield found


def raw_in_redis(channel: Any, queue: str, most: int | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield the key and the text of what waits in a queue, oldest first, ``most`` of each priority; it stays there."""
    with channel.conn_or_acquire() as client:
        for step in channel.priority_steps:
            # kombu puts the prefix before the keys of the commands that it uses itself: LRANGE is none of them.
            key = prefix_of(channel) + channel._q_for_pri(queue, step)
            for raw in plain(client).lrange(key, 0 if most is None else -most, -1)[::-1]:
                yield key, raw


def _parsed(queue: str, raw: bytes) -> Queued | None:
    try:
        told = json.loads(raw)
        headers, encoded = told["headers"], told["properties"].get("body_encoding") == "base64"
        body = base64.b64decode(told["body"]) if encoded else str(told["body"]).encode()
        return Queued(queue, headers, str(told.get("content-type")), str(told.get("content-encoding")), body)
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        return None


def _of_rabbitmq(connection: Any, queue: str, most: int) -> Iterator[Queued]:
    found: list[Queued] = []
    try:
        with connection.channel() as channel:
            while len(found) < most and (got := channel.basic_get(queue, no_ack=False)) is not None:
                body = got.body if isinstance(got.body, bytes) else str(got.body).encode()
                found.append(
                    Queued(queue, got.headers or {}, str(got.content_type), str(got.content_encoding), body)
                )
    except connection.channel_errors:  # no such queue: nothing was ever sent to it
        return
    yield from found
