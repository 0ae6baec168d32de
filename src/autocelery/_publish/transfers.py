"""Bars on a terminal for what takes a while: files that are read, sent or fetched."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

#: A transfer of so many bytes has a bar at once, a smaller one when it has taken so many seconds.
_LARGE = 16 * 2**20
_SLOW = 1.0


class Bar:
    """A bar on standard error, if that is a terminal. Owns it from the first moment it is worth its while.

    Args:
        what: is done, in a few words.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = time.monotonic()
        self._drawn: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn is not None:
            self._drawn.stop()
            self._drawn = None

    def show(self, done: int, total: int) -> None:
        """Draw that ``done`` of ``total`` bytes are done."""
        if self._drawn is None:
            is_worth_it = total >= _LARGE or time.monotonic() - self._began > _SLOW
            if not is_worth_it or not sys.stderr.isatty():
                return
            self._drawn = _drawn()
            self._drawn.start()
            self._drawn.add_task(self._what)
        self._drawn.update(0, completed=done, total=total)


def _drawn() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
