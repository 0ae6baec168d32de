"""The broker: its kind by the settings, and what it says when it is asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.exceptions import KombuError, OperationalError

from autocelery._blobs.addresses import short, without_password
from autocelery._celery import queued
from autocelery._celery.queued import Queued
from autocelery._celery.queues import names_of_all
from autocelery._doctor.services.redis import RedisView

#: Seconds that the broker has to answer.
_PATIENCE = 3.0
#: How many messages of one queue are looked at.
_A_QUEUE = 20

_KINDS = {
    "redis": "redis",
    "rediss": "redis",
    "redis+socket": "redis",
    "sentinel": "redis",
    "valkey": "redis",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
    "librabbitmq": "rabbitmq",
    "sqs": "sqs",
    "filesystem": "filesystem",
    "memory": "memory",
    "mongodb": "database",
    "sqlalchemy": "database",
    "sqla": "database",
    "django": "database",
}


@dataclass(frozen=True, slots=True)
class Broker:
    """What the settings name: ``kind`` is ``redis``, ``rabbitmq``, ``sqs``, ``database``, ``filesystem`` or another."""

    kind: str
    url: str
    is_named: bool

    @classmethod
    def of(cls, app: Celery) -> Broker:
        """Return the broker that the app writes to."""
        said = app.conf.broker_write_url or app.conf.broker_url
        text = str(said[0] if isinstance(said, list | tuple) and said else said or "").partition(";")[0]
        return cls(kind_of(text or "amqp://"), text, bool(text))

    @property
    def shown(self) -> str:
        """Its address without a password."""
        return without_password(self.url) if "://" in self.url else self.url or "amqp://localhost"

    @property
    def host(self) -> str:
        """Its machine."""
        return host_of(self.url)


@dataclass(frozen=True)
class QueueView:
    """One queue: how many messages wait, and who takes them; ``consumers`` is ``None`` where it cannot be told."""

    name: str
    messages: int
    consumers: int | None = None


@dataclass(frozen=True)
class BrokerView:
    """What a broker said; ``problem`` why it said nothing."""

    app: Celery
    kind: str
    problem: str = ""

    @classmethod
    def take(cls, app: Celery, broker: Broker) -> BrokerView:
        """Connect once, to see whether it answers."""
        try:
            with _connection(app) as connection:
                connection.ensure_connection(max_retries=1, timeout=_PATIENCE)
        except (OperationalError, KombuError, OSError, ImportError, ValueError, KeyError) as error:
            return cls(app, broker.kind, short(f"{type(error).__name__}: {error}".partition("\n")[0]))
        return cls(app, broker.kind)

    @cached_property
    def redis(self) -> RedisView | None:
        """What a Redis says of itself; ``None`` for any other broker."""
        if self.kind != "redis" or self.problem:
            return None
        return RedisView.take(self.app)

    @cached_property
    def queues(self) -> tuple[QueueView, ...]:
        """The queues of the settings that are there."""
        if self.problem or self.kind not in ("redis", "rabbitmq"):
            return ()
        with _connection(self.app) as connection:
            try:
                return tuple(self._looked_at(connection))
            except connection.connection_errors:  # lost meanwhile
                return ()

    def _looked_at(self, connection: Any) -> Iterator[QueueView]:
        for name in names_of_all(self.app):
            try:
                with connection.channel() as channel:  # a queue that is not there ends the channel
                    found = channel.queue_declare(queue=name, passive=True)
            except (*connection.channel_errors, *connection.connection_errors):
                continue
            count = found.message_count
            yield QueueView(name, int(count), int(found.consumer_count) if self.kind == "rabbitmq" else None)

    @cached_property
    def messages(self) -> tuple[Queued, ...]:
        """Some of the messages that wait; none is taken."""
        if self.problem:
            return ()
        names = [each.name for each in self.queues if each.messages]
        with _connection(self.app) as connection:
            try:
                return tuple(queued.sample(self.app, connection, names, _A_QUEUE))
            except (*connection.connection_errors, *connection.channel_errors):  # lost meanwhile
                return ()


def kind_of(url: str) -> str:
    """Return the kind of broker that ``url`` leads to."""
    scheme = url.partition("://")[0] if "://" in url else url.partition(":")[0]
    scheme = scheme.lower()
    return _KINDS.get(scheme) or _KINDS.get(scheme.partition("+")[0]) or scheme


def host_of(url: str) -> str:
    """Return the machine of an address; empty where it names none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_this_machine(host: str) -> bool:
    """Whether a name is one of this machine's own, without asking a name server."""
    return host in ("", "localhost", "127.0.0.1", "::1", socket.gethostname())


@contextmanager
def _connection(app: Celery) -> Iterator[Any]:
    """Lend a connection of its own, which gives up in seconds."""
    with app.connection_for_write(connect_timeout=_PATIENCE) as connection:
        yield connection
