"""How a worker's main process takes in a live call: with the options of the task that is called.

Whether a message is acknowledged late, or put back when its process is lost,
Celery reads from the task's class. All live calls are one class, so each name
and combination of options that arrives gets a live task of its own,
and of Celery's own strategy for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery.worker.strategy import default

from autocelery._celery.requests import ReceivedTask
from autocelery_host.header import HEADER, MAIN_PROCESS_OPTIONS, RETRY_OPTIONS

#: How many kinds of calls a worker remembers: names come with messages.
MOST_KINDS = 4096

Kind = tuple[str, tuple[tuple[str, Any], ...]]


def live(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Return the handler of messages for the live task."""
    strategies: dict[Kind, Callable[..., Any]] = {}

    def handle(message: Any, *args: Any, **options: Any) -> Any:
        header = (message.headers or {}).get(HEADER)
        kind = _kind(header)
        if kind is None:
            return refuse(message, *args, **options)
        strategy = strategies.get(kind)
        if strategy is None:
            if len(strategies) >= MOST_KINDS:
                strategies.clear()
            strategy = strategies[kind] = default(_received(task, *kind), app, consumer, **kwargs)
        return strategy(message, *args, **options)

    refuse = default(task, app, consumer, **kwargs)
    return handle


def _kind(header: Any) -> Kind | None:
    """Return the name and the options of the task that is called; ``None`` where the header says neither."""
    if not isinstance(header, Mapping) or not isinstance(header.get("task"), str):
        return None
    given = header.get("options")
    if not isinstance(given, Mapping):
        return header["task"], ()
    flags = [(name, bool(given[name])) for name in MAIN_PROCESS_OPTIONS if name in given]
    numbers = [(name, given[name]) for name in RETRY_OPTIONS if isinstance(given.get(name), int | float)]
    return header["task"], tuple(flags + numbers)


def _received(task: Any, name: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return a task of its own, not a copy: `copy` gives the registered task, by way of its pickled form."""
    received = type("ReceivedTask", (ReceivedTask, type(task)), {"__module__": ReceivedTask.__module__})()
    for option, value in {**MAIN_PROCESS_OPTIONS, **dict(options), "name": name}.items():
        setattr(received, option, value)
    return received
