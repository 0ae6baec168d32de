"""How a worker's main process takes in a live call: with the options of the task that is called.

Whether a message is acknowledged late, or put back when its process is lost,
Celery reads from the task's class. All live calls are one class, so each
combination of options that arrives gets its own copy of the live task, and
of Celery's own strategy for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from celery.worker.strategy import default

from autocelery_host.messages import HEADER, MAIN_PROCESS_OPTIONS, RETRY_OPTIONS


def live(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Return the handler of messages for the live task."""
    strategies: dict[tuple[tuple[str, Any], ...], Callable[..., Any]] = {}

    def handle(message: Any, *args: Any, **options: Any) -> Any:
        wanted = _options((message.headers or {}).get(HEADER))
        strategy = strategies.get(wanted)
        if strategy is None:
            strategy = strategies[wanted] = default(_variant(task, wanted), app, consumer, **kwargs)
        return strategy(message, *args, **options)

    return handle


def _options(header: Any) -> tuple[tuple[str, Any], ...]:
    given = header.get("options") if isinstance(header, Mapping) else None
    if not isinstance(given, Mapping):
        return ()
    flags = [(name, bool(given[name])) for name in MAIN_PROCESS_OPTIONS if name in given]
    numbers = [(name, given[name]) for name in RETRY_OPTIONS if isinstance(given.get(name), int | float)]
    return tuple(flags + numbers)


def _variant(task: Any, wanted: tuple[tuple[str, Any], ...]) -> Any:
    variant = copy.copy(task)
    for name, value in {**MAIN_PROCESS_OPTIONS, **dict(wanted)}.items():
        setattr(variant, name, value)
    return variant
