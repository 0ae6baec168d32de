"""What a process makes for itself: connections that a forked child must neither use nor close."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")

_everywhere: WeakSet[PerProcess[Any]] = WeakSet()


class PerProcess(Generic[T]):
    """One value a process, made on first use. Safe for threads.

    A child that was forked makes its own. It keeps what it inherited, unused,
    until it ends: a connection that is finalized says goodbye to the server
    on the socket that its parent still uses.

    >>> numbers = PerProcess(lambda: [1])
    >>> numbers.get() is numbers.get()
    True
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: T | None = None
        self._inherited: list[T | None] = []
        self._lock = threading.Lock()
        _everywhere.add(self)

    def get(self) -> T:
        """Return this process's value."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def drop(self) -> T | None:
        """Return this process's value, if there is one, and make another when one is needed."""
        made, self._made = self._made, None
        return made

    def after_fork(self) -> None:
        """Begin anew: a lock that another thread held at the fork would never be free again."""
        self._inherited.append(self._made)
        self._made = None
        self._lock = threading.Lock()


def _begin_anew() -> None:
    for each in list(_everywhere):
        each.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
