"""Messages that wait, moved to another queue, so that at no time one is in neither.

In Redis that is one step, and what waits is read where it is. Elsewhere a message is confirmed in its new place
before it is acknowledged in the old one: a process that dies in between leaves it in both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from celery import Celery
from kombu.serialization import prepare_accept_content
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from autocelery._celery.queued import raw_in_redis
from autocelery._celery.queues import length_of
from autocelery._celery.sending_once import can_prove, plain, prefix_of

#: Takes the exchange, the routing key and the headers, and returns whether it was this one that moved the message.
Move = Callable[[str, str, Mapping[str, Any]], bool]
#: Not ``expiration``: RabbitMQ would remove the message without a word. A worker reads the header ``expires``.
_KEPT: Final = ("correlation_id", "reply_to", "priority", "delivery_mode")
_MOVE: Final = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return 0 end
for place = 2, #KEYS do redis.call('LPUSH', KEYS[place], ARGV[place]) end
return 1
"""


class NoQueue(Exception):
    """No queue takes what is published so; it was not."""

    def __init__(self, exchange: str, routing_key: str) -> None:
        where = (
            f"what the exchange {exchange} gets as {routing_key}"
            if exchange
            else f"it: {routing_key} is gone"
        )
        super().__init__(f"no queue takes {where}")


@contextmanager
def publishing(app: Celery) -> Iterator[Callable[..., None]]:
    """Lend a function that publishes a message again, and returns once a queue has it; else it raises `NoQueue`."""
    with _confirming(app) as connection:
        yield _publisher(app, connection)


def waiting(app: Celery, name: str, most: int | None = None) -> Generator[tuple[Any, Move], None, None]:
    """Yield what is in a queue now, each message once, and what moves it; what was not moved stays."""
    accepted = prepare_accept_content(app.conf.accept_content)  # type: ignore[no-untyped-call]
    with _confirming(app) as connection, connection.channel() as channel:
        found = _in_redis if can_prove(channel) else _delivered
        for message, move in found(app, connection, channel, name, most):
            message.accept = accepted
            yield message, move


@contextmanager
def _confirming(app: Celery) -> Iterator[Any]:
    with app.connection_for_write() as connection:
        connection.transport_options = {**(connection.transport_options or {}), "confirm_publish": True}
        yield connection


def _in_redis(
    app: Celery, _connection: Any, channel: Any, name: str, most: int | None
) -> Iterator[tuple[Any, Move]]:
    producer = app.amqp.Producer(channel, auto_declare=False)
    for key, raw in list(raw_in_redis(channel, name, most))[:most]:
        message = channel.message_to_python(loads(raw))  # type: ignore[no-untyped-call]
        yield message, partial(_move_in_redis, app, producer, key, raw, message)


def _move_in_redis(
    app: Celery,
    producer: Any,
    key: str,
    raw: bytes,
    message: Any,
    exchange: str,
    routing_key: str,
    headers: Mapping[str, Any],
) -> bool:
    """Have kombu say what it would put where, and do that together with what removes the message."""
    channel, puts = producer.channel, dict[str, str]()

    def put(queue: str, told: dict[str, Any], **_options: Any) -> None:
        priority = channel._get_message_priority(told, reverse=False)
        puts[prefix_of(channel) + channel._q_for_pri(queue, priority)] = dumps(told)  # type: ignore[no-untyped-call]

    channel._put, channel._put_fanout = put, _put_nowhere
    try:
        _send(producer, message, exchange, routing_key, headers, declare=_queues_at(app, exchange))
    finally:
        del channel._put, channel._put_fanout
    if not puts:
        raise NoQueue(exchange, routing_key)
    with channel.conn_or_acquire() as client:
        return bool(plain(client).eval(_MOVE, 1 + len(puts), key, *puts, raw, *puts.values()))


def _put_nowhere(*_args: Any, **_options: Any) -> None:
    """Stand for a fanout in Redis, which reaches who listens, and no queue."""


def _delivered(
    app: Celery, connection: Any, channel: Any, name: str, most: int | None
) -> Iterator[tuple[Any, Move]]:
    """Yield messages as they are delivered; those that are not acknowledged go back when the channel is closed."""
    publish = _publisher(app, connection)
    count = length_of(connection, name) or 0  # there is no queue: nothing waits
    for _ in range(count if most is None else min(count, most)):
        got = channel.basic_get(name, no_ack=False)
        if got is None:
            return
        message = channel.message_to_python(got)
        yield message, partial(_move_delivered, publish, message)


def _move_delivered(
    publish: Callable[..., None], message: Any, exchange: str, routing_key: str, headers: Mapping[str, Any]
) -> bool:
    publish(message, exchange, routing_key, headers)
    message.ack()
    return True


def _publisher(app: Celery, connection: Any) -> Callable[..., None]:
    returned: list[object] = []  # RabbitMQ gives back what no queue takes, and confirms it then
    on_return = (lambda *told: returned.append(told)) if connection.transport.driver_type == "amqp" else None
    producer = app.amqp.Producer(connection, auto_declare=False, on_return=on_return)

    def publish(
        message: Any, exchange: str, routing_key: str, headers: Mapping[str, Any], declare: Any = ()
    ) -> None:
        channel = producer.channel
        if exchange and issubclass(type(channel), virtual.Channel):
            for queue in _queues_at(app, exchange):
                producer.maybe_declare(queue)
            if not channel._lookup(exchange, routing_key):
                raise NoQueue(exchange, routing_key)
        _send(producer, message, exchange, routing_key, headers, declare=list(declare))
        if returned:
            returned.clear()
            raise NoQueue(exchange, routing_key)

    return publish


def _queues_at(app: Celery, exchange: str) -> list[Any]:
    """Return the app's queues at an exchange of kombu's own, which knows them once they are declared."""
    return [each for each in app.amqp.queues.values() if exchange and each.exchange.name == exchange]


def _send(
    producer: Any, message: Any, exchange: str, routing_key: str, headers: Mapping[str, Any], declare: Any
) -> None:
    """Publish a message as it was, with these headers."""
    body = message.body
    producer.publish(
        body if isinstance(body, str) else bytes(body),
        exchange=exchange,
        routing_key=routing_key,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        # kombu has decompressed it, unless it cannot.
        compression=None if message.errors else headers.get("compression"),
        headers=dict(headers),
        mandatory=True,
        declare=declare,
        **{name: message.properties[name] for name in _KEPT if message.properties.get(name) is not None},
    )
