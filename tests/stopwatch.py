"""Seconds as a promise means them: those of a machine that has nothing else to do."""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from types import TracebackType

_YARDSTICK = (sys.executable, "-I", "-S", "-c", "pass")
_PAUSE = 0.2


class Stopwatch:
    """Measures how long a block takes, and beside it how much the machine is in demand. Owns a thread meanwhile.

    The yardstick is a process that starts and ends: on a machine that has nothing else to do it takes as long as it
    computes, on a busy one as much longer as anything else does that starts processes and waits for them.

    >>> with Stopwatch() as watch:
    ...     time.sleep(0.1)
    >>> watch.seconds < 5
    True
    """

    def __enter__(self) -> Stopwatch:
        self._slowdowns: list[float] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._compare, name="yardstick", daemon=True)
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._took = time.monotonic() - self._began
        self._stopped.set()
        self._thread.join()

    @property
    def slowdown(self) -> float:
        """How many times longer than alone something took meanwhile; 1 where nothing else ran."""
        return max(1.0, statistics.mean(self._slowdowns))

    @property
    def seconds(self) -> float:
        """What the block took, in seconds of a machine that has nothing else to do."""
        return self._took / self.slowdown

    def __str__(self) -> str:
        return f"{self._took:.2f} s on a machine that was {self.slowdown:.1f} times slower than alone"

    def _compare(self) -> None:
        self._slowdowns.append(_slowdown())
        while not self._stopped.wait(_PAUSE):
            self._slowdowns.append(_slowdown())


def _slowdown() -> float:
    began = time.monotonic()
    pid = os.posix_spawn(sys.executable, _YARDSTICK, os.environ)
    _, _, used = os.wait4(pid, 0)
    return (time.monotonic() - began) / (used.ru_utime + used.ru_stime)
