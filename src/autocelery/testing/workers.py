"""Real workers in this process: Celery's own, in a thread, on kombu's memory or on a real broker."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from celery import Celery, signals
from celery.contrib.testing.worker import start_worker, test_worker_started
from kombu.connection import Connection

from autocelery._celery import live_task
from autocelery._eager import reconnecting
from autocelery._eager.application import EagerMessages
from autocelery._eager.transport import LONGEST_WAIT, transport_for
from autocelery.errors import BrokerNotConfigured
from autocelery.testing.one_queue import one_queue
from autocelery.testing.time import timer_for

#: Seconds that a worker has to end the task that it runs.
TIME_TO_STOP = 30.0


@contextmanager
def memory_worker(app: Celery, **options: Any) -> Iterator[Any]:
    """Run a worker of ``app`` in a thread of this process; messages and results are in its memory.

    Args:
        app: the app, whatever broker it has.
        **options: of Celery's worker; ``pool="solo"``.

    Yields:
        the worker.
    """
    with _not_eager(app), ExitStack() as undo:
        transport = transport_for()
        connect = reconnecting.through(app, transport)
        undo.callback(reconnecting.connect(app, connect, in_memory=True))
        undo.callback(reconnecting.forget, transport)
        reconnecting.mix_into_messages(app, EagerMessages)
        undo.enter_context(one_queue(app, _name()))
        yield from _running(app, timer_cls=timer_for(app), **options)


@contextmanager
def broker_worker(app: Celery, url: str | None = None, **options: Any) -> Iterator[Any]:
    """Run a worker of ``app`` in a thread of this process, on a real broker, in a queue of its own.

    Every call of the app goes to that queue, whichever it asks for, and it is
    removed afterwards; on Redis everything has a prefix of its own besides.
    Results are stored where the app's settings say, else in memory.

    Args:
        app: the app.
        url: the broker; by default that of the app.
        **options: of Celery's worker.

    Yields:
        the worker.

    Raises:
        BrokerNotConfigured: there is neither.
    """
    with _not_eager(app), ExitStack() as undo:
        broker = url or app.conf.broker_write_url
        if not broker:
            raise BrokerNotConfigured(
                "This test wants a worker on a real broker, and none is configured. Set CELERY_BROKER_URL, or "
                "autocelery_broker in pytest's configuration."
            )
        name = _name()
        connect = _connecting(app, broker, f"{name}:")
        undo.callback(reconnecting.connect(app, connect, in_memory=False))
        undo.enter_context(one_queue(app, name))
        undo.callback(_remove, connect, name)
        yield from _running(app, **options)


def _name() -> str:
    return f"autocelery-test-{secrets.token_hex(4)}"


def _running(app: Celery, **options: Any) -> Iterator[Any]:
    settings = {"perform_ping_check": False, "shutdown_timeout": TIME_TO_STOP, **options}
    signals.setup_logging.connect(_leave_the_log, weak=False)
    setattr(app, live_task.IN_A_THREAD, True)
    try:
        test_worker_started.connect(_keep_awake, sender=app, weak=False)
        with start_worker(app, **settings) as worker:
            yield worker
    finally:
        delattr(app, live_task.IN_A_THREAD)
        test_worker_started.disconnect(_keep_awake, sender=app)
        signals.setup_logging.disconnect(_leave_the_log)


def _leave_the_log(**_: Any) -> None:
    """Keep Celery from setting up the log: its handlers and levels are pytest's and the project's."""


def _keep_awake(worker: Any = None, **_: Any) -> None:
    """Have the loop of a worker turn: one that waits for a broker looks every ten seconds whether it has to stop."""
    if worker.use_eventloop:
        worker.timer.call_repeatedly(LONGEST_WAIT, lambda: None)


@contextmanager
def _not_eager(app: Celery) -> Iterator[None]:
    """An app that is eager has to be as it would be with a broker."""
    eager = getattr(app, "autocelery_eager", None)
    if eager is None:
        yield
        return
    eager.stop()
    try:
        yield
    finally:
        eager.start()


def _connecting(app: Celery, broker: str, prefix: str) -> Callable[..., Connection]:
    whole = type(app)._connection
    is_redis = broker.partition(":")[0] in ("redis", "rediss", "redis+socket", "unix")
    options = {"global_keyprefix": prefix} if is_redis else {}

    def connect(url: Any = None, **given: Any) -> Connection:
        given["transport_options"] = {**(given.get("transport_options") or {}), **options}
        connection: Connection = whole(app, broker, **given)
        return connection

    return connect


def _remove(connect: Callable[..., Connection], name: str) -> None:
    """Remove what the test's queue has left on the broker."""
    with connect() as connection:
        channel = connection.default_channel
        channel.queue_delete(name)
        if connection.transport.driver_type == "amqp":
            channel.exchange_delete(name)
        elif connection.transport.driver_type == "redis":
            keys = list(channel.client.scan_iter(match=f"{name}:*"))
            if keys:
                channel.client.unlink(*keys)
