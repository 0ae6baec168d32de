"""What the calls that are sent from here run, and who wants their output."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from celery import Celery

from autocelery_host.header import OUTPUT, Target

#: Gives what a call of the app's named task runs; ``None``: it is a deployed call.
Aim = Callable[[Celery, str], Target | None]
#: What everything sent from here runs; ``None``: calls are deployed calls.
_aim: ContextVar[Aim | None] = ContextVar("autocelery_aim", default=None)
#: The same, for a whole process: a host's.
_process_aim: Aim | None = None

#: Gives the channel that the output of an app's call is sent to, by id and name; ``None``: nobody wants it.
Asking = Callable[[Celery, str, str], str | None]
_asking: ContextVar[Asking | None] = ContextVar("autocelery_asking", default=None)


def send_everything_as(target: Target) -> None:
    """Make every call that this process sends a live call of ``target``."""
    global _process_aim
    _process_aim = lambda app, name: target  # noqa: E731


@contextlib.contextmanager
def sending_as(aim: Aim) -> Iterator[None]:
    """Make every call sent in this block, in this thread or task, a live call of what ``aim`` gives for its name."""
    token = _aim.set(aim)
    try:
        yield
    finally:
        _aim.reset(token)


@contextlib.contextmanager
def asking(wants: Asking) -> Iterator[None]:
    """Have the live calls sent in this block, in this thread or task, send their output where ``wants`` says."""
    token = _asking.set(wants)
    try:
        yield
    finally:
        _asking.reset(token)


@contextlib.contextmanager
def sending_as_decided() -> Iterator[None]:
    """Send calls in this block, in this thread or task, as their headers say, whatever block is around it."""
    with sending_as(lambda app, name: None), asking(lambda app, task_id, name: None):
        yield


def current() -> Aim | None:
    """Return what is in force here: that of the block, else that of the process."""
    return _aim.get() or _process_aim


def asked(app: Celery, header: dict[str, Any], task_id: str | None) -> dict[str, Any]:
    """Return ``header`` with the channel that wants the output of the call with that id, if one does."""
    wants = _asking.get()
    channel = wants(app, task_id, header["task"]) if wants is not None and task_id else None
    return header if channel is None else {**header, OUTPUT: channel}
