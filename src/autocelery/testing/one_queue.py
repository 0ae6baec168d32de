"""An app all of whose calls go to one queue, whatever queue they ask for: that of a test's worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.app.routes import Router
from kombu.entity import Exchange, Queue

from autocelery._celery import attending, live_task
from autocelery_host.header import HEADER

#: What an app's AMQP keeps that says where calls go, and to which queues a worker listens.
_KEPT = ("Router", "router", "queues", "default_queue", "send_task_message")


@contextmanager
def one_queue(app: Celery, name: str) -> Iterator[None]:
    """Have every call of ``app`` go to the queue ``name``, and its worker listen to no other one.

    Calls are routed as ever, by the table, by ``task_routes`` or as they ask, and keep the routing key that they
    would have; behind a topic exchange of the queue's own it decides nothing.

    Args:
        app: the app.
        name: of the queue and its exchange.
    """
    exchange: Any = Exchange(name, type="topic")  # type: ignore[no-untyped-call]
    own = Queue(name, exchange, routing_key="#")  # type: ignore[no-untyped-call]
    warns = app.conf.get(attending.SETTING, True)
    amqp = app.amqp
    known = amqp.Queues(app.conf.task_queues)
    known.add(own)
    kept = {each: amqp.__dict__.pop(each) for each in _KEPT if each in amqp.__dict__}
    amqp.__dict__["queues"] = amqp.Queues([own])
    # Celery makes another router whenever task_routes change.
    amqp.__dict__["Router"] = lambda *_, **__: _ToOneQueue(own, amqp.routes, known, app=app)
    app.conf[attending.SETTING] = False  # who listens is known
    try:
        yield
    finally:
        app.conf[attending.SETTING] = warns
        for each in _KEPT:
            amqp.__dict__.pop(each, None)
        amqp.__dict__.update(kept)


class _ToOneQueue(Router):
    """Celery's router, whose last word is ``own``."""

    def __init__(self, own: Queue, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own = own

    def route(self, options: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the options of a call to the one queue, with the routing key that it would have gone by.

        Raises:
            ConfigurationError: the call was made live before there was this queue, and its worker cannot run it.
        """
        if HEADER in (options.get("headers") or {}):
            live_task.require_process(self.app)
        routed = super().route(options, *args, **kwargs)
        here = {
            "queue": self._own,
            "exchange": self._own.exchange.name,
            "exchange_type": "topic",
            "routing_key": _key_of(**routed),
        }
        return {**routed, **here}


def _key_of(queue: Any = None, exchange: Any = None, routing_key: str | None = None, **_: Any) -> str:
    """Return the routing key of a call's message, as Celery chooses it."""
    is_direct = queue is not None and (not queue.exchange or queue.exchange.type == "direct")
    if routing_key and (exchange or not is_direct):
        return routing_key
    return str(queue.name if is_direct else queue.routing_key)
