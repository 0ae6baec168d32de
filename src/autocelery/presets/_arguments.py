"""Arguments that the serializer does not carry: which one it is, and what to pass instead."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from celery.app.task import Task
from kombu import serialization
from kombu.exceptions import EncodeError

from autocelery.errors import ArgumentNotSerializable, AutoceleryError

#: Without types of its own.
_dumps: Any = serialization.dumps


def check(task: Task, args: Any, kwargs: Any, serializer: str) -> None:
    """See that the arguments of a call can be sent.

    Raises:
        ArgumentNotSerializable: one cannot.
    """
    if _is_carried((tuple(args or ()), dict(kwargs or {})), serializer):
        return
    raise refusal(task, args, kwargs, serializer)


@contextmanager
def explained(task: Task, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Iterator[None]:
    """Have a call that fails for its arguments say which one, and what to pass instead.

    Args:
        task: what is called.
        args: its positional arguments.
        kwargs: its keyword arguments.
        options: of ``apply_async``.

    Raises:
        ArgumentNotSerializable: one cannot be sent.
    """
    try:
        yield
    except (EncodeError, TypeError) as error:
        if isinstance(error, AutoceleryError):
            raise
        check(task, args, kwargs, serializer_of(task, options))
        raise  # of something else


def serializer_of(task: Task, options: Mapping[str, Any]) -> str:
    """Return the name of what a call is written with."""
    return str(options.get("serializer") or task.serializer or task.app.conf.task_serializer)


def refusal(task: Task, args: Any, kwargs: Any, serializer: str) -> ArgumentNotSerializable:
    """Return the error for arguments of which one cannot be sent. It shows types and names, and no values."""
    path, value = next(_culprits(task, args, kwargs, serializer), ("its arguments", None))
    kind = type(value)
    return ArgumentNotSerializable(
        f"{task.name} was not sent: {path} is {_article(kind.__qualname__)}, which {serializer} cannot carry to a "
        f"worker. {_mend(path, value)}"
    )


def _is_carried(value: Any, serializer: str) -> bool:
    try:
        _dumps(value, serializer=serializer)
    except (EncodeError, TypeError, ValueError, RecursionError, OverflowError):
        return False
    return True


def _culprits(task: Task, args: Any, kwargs: Any, serializer: str) -> Iterator[tuple[str, Any]]:
    """Yield path and value of each leaf that is not carried."""
    names = _parameters(task)
    for number, value in enumerate(args or ()):
        path = names[number] if number < len(names) else f"argument {number + 1}"
        yield from _below(path, value, serializer)
    for name, value in (kwargs or {}).items():
        yield from _below(str(name), value, serializer)


def _below(path: str, value: Any, serializer: str) -> Iterator[tuple[str, Any]]:
    if _is_carried(value, serializer):
        return
    if isinstance(value, Mapping):
        inner = [
            found for key, each in value.items() for found in _below(f"{path}[{key!r}]", each, serializer)
        ]
    elif isinstance(value, list | tuple):
        inner = [found for n, each in enumerate(value) for found in _below(f"{path}[{n}]", each, serializer)]
    else:
        inner = []
    yield from inner or [(path, value)]


def _parameters(task: Task) -> list[str]:
    try:
        return list(inspect.signature(task.run).parameters)
    except (TypeError, ValueError):  # a callable without a signature
        return []


def _mend(path: str, value: Any) -> str:
    """Return what to pass instead; what belongs to a framework is told by its shape."""
    kind, last = type(value), path.rpartition(".")[2]
    if hasattr(kind, "_meta") and hasattr(kind, "objects"):
        return (
            f"Pass its primary key, {kind.__name__.lower()}.pk, and read it in the task, as it is then: "
            f"{kind.__name__}.objects.get(pk=...)."
        )
    if hasattr(kind, "values_list") and hasattr(value, "model"):
        return f'Pass the primary keys: list({last}.values_list("pk", flat=True)).'
    if hasattr(kind, "__mapper__"):
        return f"Pass its primary key, and read it in the task, as it is then: session.get({kind.__name__}, key)."
    if hasattr(kind, "model_dump"):
        return f'Pass its fields: {last}.model_dump(mode="json").'
    if isinstance(value, set | frozenset):
        return f"Pass a list: sorted({last})."
    if dataclasses.is_dataclass(value):
        return f"Pass its fields: dataclasses.asdict({last})."
    return "Pass what it is made of, as text and numbers, or teach kombu its type: kombu.utils.json.register_type."


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"
