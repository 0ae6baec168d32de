"""Where an app's messages and results go, changed after it was made, and changed back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu import pools
from kombu.connection import Connection
from kombu.transport.base import Transport
from kombu.utils.imports import symbol_by_name

from autocelery._eager.results import IN_MEMORY

_CHANGED = ("_connection", "_get_backend")


def connect(
    app: Celery,
    connection: Callable[..., Connection],
    in_memory: bool,
    adapt: Callable[[Any], Any] = lambda backend: backend,
) -> Callable[[], None]:
    """Have ``app`` send its messages through ``connection``, and keep its results in memory if it keeps them nowhere.

    Args:
        app: the app.
        connection: makes a connection, whatever address is asked for.
        in_memory: keep results in memory, wherever the app's settings say.
        adapt: what is done to the result backend of each thread.

    Returns:
        what connects it again as it was.
    """
    before = {name: app.__dict__[name] for name in _CHANGED if name in app.__dict__}
    make = app._get_backend
    kept = _let_go(app)

    def backend() -> Any:
        is_kept = not in_memory and (app.backend_cls or app.conf.result_backend)
        return adapt(make() if is_kept else _in_memory(app, make))

    def undo() -> None:
        _let_go(app)
        for name in _CHANGED:
            app.__dict__.pop(name, None)
        app.__dict__.update(before)
        app._backend_cache, in_thread = kept
        if in_thread is not None:
            app._local.backend = in_thread

    app._connection = connection
    app._get_backend = backend
    return undo


def _in_memory(app: Celery, make: Callable[[], Any]) -> Any:
    before = app.backend_cls
    app.backend_cls = IN_MEMORY
    try:
        return make()
    finally:
        app.backend_cls = before


def _let_go(app: Celery) -> tuple[Any, Any]:
    """Have the app look anew for where messages and results go; return the backends of all and of this thread.

    Connections stay open: kombu keeps them for who comes back.
    """
    app._pool = None
    if "amqp" in app.__dict__:
        app.amqp._producer_pool = None
    kept = app._backend_cache, getattr(app._local, "backend", None)
    app._backend_cache = None
    if kept[1] is not None:
        del app._local.backend
    return kept


def through(app: Celery, transport: type[Transport]) -> Callable[..., Connection]:
    """Return what makes connections of ``app`` through ``transport``, which needs no address."""
    return lambda url=None, **_: app.amqp.Connection(transport=transport)


def forget(transport: type[Transport]) -> None:
    """Close what kombu keeps open of a transport that nobody comes back to."""
    for group in (pools.producers, pools.connections):
        for key in [
            each for each in group if transport in each
        ]:  # what it takes two connections for the same by
            dict.pop(group, key).force_close_all()


def mix_into_messages(app: Celery, kind: type[AMQP]) -> None:
    """Put ``kind`` before the class of the app's AMQP, which may be made already; a second time changes nothing."""

    def mixed(named: Any) -> type[AMQP]:
        own: type[AMQP] = symbol_by_name(named)  # type: ignore[no-untyped-call]
        return own if issubclass(own, kind) else type(own.__name__, (kind, own), {})

    existing = app.__dict__.get("amqp")
    if existing is None:
        app.amqp_cls = mixed(app.amqp_cls)
    elif not isinstance(existing, kind):
        existing.__class__ = mixed(type(existing))
        existing.task_protocols = {**existing.task_protocols, 2: existing.as_task_v2}
        existing.__dict__.pop("create_task_message", None)


def close_producers(app: Celery) -> None:
    """Close the connections that ``app`` sends through; the next call opens one anew."""
    opened = (app.amqp.__dict__.get("_producer_pool"), app._pool)
    for group, pool in zip((pools.producers, pools.connections), opened, strict=True):
        for key in [each for each, known in group.items() if known is pool]:
            dict.pop(group, key)
        if pool is not None:
            pool.force_close_all()
    app._pool = None
    app.amqp._producer_pool = None
