"""An app's queues and routes, as the table ``[tool.autocelery.queues]`` says."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from celery import VERSION, Celery
from kombu.entity import Exchange, Queue

from autocelery._celery import attending
from autocelery._celery.queues import arguments_of
from autocelery._tables import QueuePlan, Tables, table_file
from autocelery.errors import UpInvalid

#: Folders that packages are installed in.
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_FIRST_WITH_QUORUM = (5, 5)
#: Where the table of an app is looked for.
_tops: WeakKeyDictionary[Celery, Path] = WeakKeyDictionary()


def install(app: Celery, top: Path | None) -> None:
    """Have ``app`` declare the queues of its project's table, and route tasks to them; its own routes go before.

    Args:
        app: before or after its settings are read.
        top: where the table is looked for, and above; by default ``AUTOCELERY_ROOT``, else the folder of the
            module that makes the Autocelery.

    Raises:
        UpInvalid: the table does not say what it could mean, or asks for what this Celery does not have.
    """
    top = top or _folder_of_caller()
    if top is not None:
        _tops[app] = top
    queues = _queues_below(top)
    if queues and app.configured:
        _apply(app, queues)
    elif queues:
        app.on_after_configure.connect(lambda **_: _apply(app, queues), weak=False)


def listen_to_new(consumer: Any) -> None:
    """Have a worker listen to the queues that its app's table has by now; one that chose its queues keeps to them.

    Args:
        consumer: the worker's.

    Raises:
        UpInvalid: as `install`.
    """
    app = consumer.app
    known = app.amqp.queues
    if known._consume_from is not None:  # -Q
        return
    for each in _queues_below(_tops.get(app)):
        if each.name not in known:
            known.add(_of_table(app, each))
            consumer.call_soon(consumer.add_task_queue, each.name)


def _queues_below(top: Path | None) -> tuple[QueuePlan, ...]:
    place = table_file(top) if top is not None else None
    queues = Tables(place).queues() if place is not None else ()
    for each in queues:
        if each.type == "quorum" and VERSION < _FIRST_WITH_QUORUM:
            raise UpInvalid(
                f"{place}: queues.{each.name}.type is 'quorum', from which Celery consumes since 5.5. Install it: "
                "pip install 'celery>=5.5'; or leave type out."
            )
    return queues


def _apply(app: Celery, queues: tuple[QueuePlan, ...]) -> None:
    conf = app.conf
    declared = app.amqp.Queues(conf.task_queues).values() if conf.task_queues else [_default_queue(app)]
    own = list(declared)  # which may be given as a list or a mapping
    known = {each.name for each in own}
    own += [_of_table(app, each) for each in queues if each.name not in known]
    routes = {task: {"queue": each.name} for each in queues for task in each.tasks}
    given = conf.task_routes
    before = list(given) if isinstance(given, list | tuple) else [given] if given else []
    if routes in before:  # an app may get its Autocelery twice, from a preset and by hand
        return
    conf.update(task_queues=own, task_routes=[*before, routes])
    attending.install(app, [each.name for each in queues])


def _default_queue(app: Celery) -> Any:
    conf = app.conf
    name = conf.task_default_queue
    exchange, key = conf.task_default_exchange or name, conf.task_default_routing_key or name
    return _queue(name, exchange, key, conf.task_default_exchange_type, conf.get("task_default_queue_type"))


def _of_table(app: Celery, plan: QueuePlan) -> Any:
    """Return the queue of one line; RabbitMQ delays messages for a quorum queue only behind a topic exchange."""
    kind = plan.type or app.conf.get("task_default_queue_type") or "classic"
    return _queue(plan.name, plan.name, plan.name, "topic" if kind == "quorum" else "direct", kind)


def _queue(name: str, exchange: str, routing_key: str, exchange_type: str, kind: str | None) -> Any:
    declared: Any = Exchange(exchange, type=exchange_type)  # type: ignore[no-untyped-call]
    return Queue(name, declared, routing_key=routing_key, queue_arguments=arguments_of(kind))  # type: ignore[no-untyped-call]


def _folder_of_caller() -> Path | None:
    """Return the folder of the module that makes the Autocelery: the same in a worker, a web server and a host.

    One that an installed package makes, such as a command's for an app that has none, has no table: the app is
    routed alike wherever it runs.
    """
    root = os.environ.get("AUTOCELERY_ROOT")
    if root:
        return Path(root)
    frame: Any = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        file = frame.f_globals.get("__file__")
        if file and module.partition(".")[0] not in ("autocelery", "autocelery_host"):
            folder = Path(file).resolve().parent
            return None if _INSTALLED.intersection(folder.parts) else folder
        frame = frame.f_back
    return None
