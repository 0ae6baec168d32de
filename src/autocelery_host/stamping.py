"""Says on each message what signature it was sent for, and on what hangs on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery
from celery.app.task import Task

from autocelery_host.canvas import converted
from autocelery_host.header import BUILT_IN, HEADER, LIVE_TASK
from autocelery_host.shapes import MOST_CHARACTERS, SIGNATURE, Shape, last_name, read, shape_of

_HANGING = ("callbacks", "errbacks", "chain")


def shape_of_task(task: Task) -> Shape | None:
    """Return the shape of a task's calls, as its code is in this process."""
    known = task.__dict__
    if "_autocelery_shape" not in known:
        version = max(getattr(task, "upgrade", None) or (0,)) + 1
        known["_autocelery_shape"] = shape_of(task.name, task.run, version)
    shape: Shape | None = known["_autocelery_shape"]
    return shape


def stamped(app: Celery, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the ``options`` of a message with the shape that ``name`` and all that hangs on it were sent for.

    A shape that was there before stays: of what waits in a chain, its producer knew the signature,
    and of a retry, the arguments are those of the first try. What another task's message brought along goes.
    """
    headers = _stamped_headers(app, name, options.get("headers"))
    changed: dict[str, Any] = {"headers": headers} if headers is not None else {}
    for hanging in _HANGING:
        if options.get(hanging):
            changed[hanging] = [
                converted(each, lambda leaf: _stamped_leaf(app, leaf)) for each in options[hanging]
            ]
    if options.get("chord"):
        changed["chord"] = converted(options["chord"], lambda leaf: _stamped_leaf(app, leaf))
    return {**options, **changed}


def _stamped_leaf(app: Celery, signature: dict[str, Any]) -> dict[str, Any]:
    options = signature.get("options") or {}
    header = options.get(HEADER) or (options.get("headers") or {}).get(HEADER) or {}
    name = header.get("task", LIVE_TASK) if signature["task"] == LIVE_TASK else signature["task"]
    headers = _stamped_headers(app, name, options.get("headers"))
    return signature if headers is None else {**signature, "options": {**options, "headers": headers}}


def _stamped_headers(app: Celery, name: str, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the headers with the right shape, or ``None`` where they are right as they are."""
    given = given or {}
    told = read(given.get(SIGNATURE)) if SIGNATURE in given else None
    if told is not None and told.name == last_name(name):
        return None
    text = _text(app, name)
    if text is not None:
        return {**given, SIGNATURE: text}
    return {key: value for key, value in given.items() if key != SIGNATURE} if SIGNATURE in given else None


def _text(app: Celery, name: str) -> str | None:
    task = app._tasks.get(name)
    if task is None or name.startswith(BUILT_IN):
        return None
    shape = shape_of_task(task)
    text = None if shape is None else str(shape)
    return text if text is not None and len(text) <= MOST_CHARACTERS else None
