"""What was sent: noted when a message is published, wherever it goes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import signals
from celery.app.task import Task
from celery.utils.time import maybe_iso8601

from autocelery.errors import ConfigurationError
from autocelery_host.header import HEADER


@dataclass(frozen=True, slots=True)
class Sent:
    """A call as it was published.

    Args:
        id: the task's id.
        task: its name, of a live call that of the task itself.
        args: positional arguments, before they were serialized.
        kwargs: the others.
        eta: when it is due, with its time zone; ``None``: at once.
        routing_key: the queue's, which by default is its name.
        is_live: whether it is a live call.
        headers: all headers of the message.
    """

    id: str
    task: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    eta: datetime | None
    routing_key: str
    is_live: bool
    headers: Mapping[str, Any]

    def __str__(self) -> str:
        shown = [repr(each) for each in self.args] + [
            f"{key}={value!r}" for key, value in self.kwargs.items()
        ]
        return f"{self.task}({', '.join(shown)})"


_recordings: list[list[Sent]] = []


@contextmanager
def recording() -> Iterator[list[Sent]]:
    """Note every call that this process sends in the block, and yield the list that they are noted in."""
    sent: list[Sent] = []

    def note(headers: Any = None, body: Any = None, routing_key: Any = None, **_: Any) -> None:
        if isinstance(headers, Mapping) and "id" in headers:
            sent.append(_noted(headers, body, routing_key))

    signals.after_task_publish.connect(note, weak=False)
    _recordings.append(sent)
    try:
        yield sent
    finally:
        _recordings.remove(sent)
        signals.after_task_publish.disconnect(note)


def assert_sent(task: Task | str, *args: Any, **kwargs: Any) -> Sent:
    """Fail unless a call of ``task`` was sent; return the last one.

    Args:
        task: a task, a live one too, or its name.
        *args: with arguments, exactly these; without any, whatever the call's were.
        **kwargs: the same.

    Raises:
        AssertionError: none was; the message says what was.
        ConfigurationError: nobody notes what is sent.
    """
    __tracebackhide__ = True
    noted = _noted_here()
    found = _matching(noted, task, args, kwargs)
    if not found:
        raise AssertionError(f"{_written(task, args, kwargs)} was not sent. {_list_of(noted)}")
    return found[-1]


def assert_not_sent(task: Task | str, *args: Any, **kwargs: Any) -> None:
    """Fail if a call of ``task`` was sent; the arguments are those of `assert_sent`.

    Raises:
        AssertionError: one was.
        ConfigurationError: nobody notes what is sent.
    """
    __tracebackhide__ = True
    noted = _noted_here()
    found = _matching(noted, task, args, kwargs)
    if found:
        raise AssertionError(f"{found[-1]} was sent. {_list_of(noted)}")


def _noted_here() -> list[Sent]:
    if not _recordings:
        raise ConfigurationError(
            "Nobody notes what this test sends. Ask for the fixture autocelery_sent, or one that runs the tasks "
            "(autocelery_eager), or write: with autocelery.testing.recording():"
        )
    return _recordings[-1]


def _noted(headers: Mapping[str, Any], body: Any, routing_key: Any) -> Sent:
    live = headers.get(HEADER)
    args, kwargs, _ = body
    return Sent(
        id=headers["id"],
        task=live["task"] if live else headers["task"],
        args=tuple(args or ()),
        kwargs=dict(kwargs or {}),
        eta=maybe_iso8601(headers.get("eta")),
        routing_key=str(routing_key),
        is_live=live is not None,
        headers=dict(headers),
    )


def _matching(noted: list[Sent], task: Task | str, args: Any, kwargs: Any) -> list[Sent]:
    name = task if isinstance(task, str) else task.name
    found = [each for each in noted if each.task == name]
    if not args and not kwargs:
        return found
    return [each for each in found if (each.args, each.kwargs) == (args, kwargs)]


def _written(task: Task | str, args: Any, kwargs: Any) -> str:
    name = task if isinstance(task, str) else task.name
    return str(Sent("", name, args, kwargs, None, "", False, {})) if args or kwargs else name


def _list_of(noted: list[Sent]) -> str:
    return f"Sent: {', '.join(map(str, noted))}." if noted else "Nothing was sent."
