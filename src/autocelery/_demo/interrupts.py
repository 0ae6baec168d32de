"""Ctrl-C and its like, at moments when something can be done about them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupts:
    """Makes SIGINT a `KeyboardInterrupt` and SIGTERM and SIGHUP a `SystemExit`, but not just anywhere.

    Between the start of a process and the moment when its owner knows it, an exception would
    leave it behind: inside `held` a signal waits for the end of the block.
    """

    def __init__(self) -> None:
        self._held = 0
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise what a signal asks for, if one came; Python drops exceptions raised in a finaliser."""
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        if self._received is not None:
            raise SystemExit(128 + self._received)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no signal interrupt the block; one that came is raised after it."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held:
            self.check()

    def ignore(self) -> None:
        """From now on signals change nothing: what was started is being ended, in bounded time."""
        self._held += 1

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._received is not None:
            return  # the process is ending because of it: another one would only disturb that
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if not (self._held or _is_finalising(frame)):
            self.check()


def _is_finalising(frame: FrameType | None) -> bool:
    """Whether what is raised in ``frame`` would be dropped, and its traceback shown."""
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False
