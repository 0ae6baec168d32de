"""Calls that go out at once, whatever a framework's tasks would have them wait for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_at_once: ContextVar[bool] = ContextVar("autocelery_at_once", default=False)


@contextmanager
def sending_at_once() -> Iterator[None]:
    """Send what is called in this block, in this thread or task, at once."""
    token = _at_once.set(True)
    try:
        yield
    finally:
        _at_once.reset(token)


def is_asked() -> bool:
    """Whether a call from here is to be sent at once."""
    return _at_once.get()
