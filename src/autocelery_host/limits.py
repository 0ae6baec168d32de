"""How a host dies with whoever owns it, and how the soft time limit reaches the running task."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

from celery.exceptions import SoftTimeLimitExceeded

#: prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1

#: What Celery's prefork pool sends at a soft time limit (billiard.pool.SIG_SOFT_TIMEOUT).
SOFT_LIMIT_SIGNAL = signal.SIGUSR1


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when ``parent`` ends; where it cannot, the socket's end tells.

    Args:
        parent: the pid that must still be the parent once the wish is in place.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def outlive_parent() -> None:
    """Take back the wish of `die_with_parent`."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, 0)


class SoftLimit:
    """Raises ``SoftTimeLimitExceeded`` in the task that runs, and only there.

    The signal may come late, when the call that it was meant for has ended:
    outside ``with soft_limit:`` it does nothing.
    """

    def __init__(self) -> None:
        self._armed = False

    def install(self) -> None:
        """Take over the signal; call it from the main thread."""
        signal.signal(SOFT_LIMIT_SIGNAL, self._exceeded)

    def __enter__(self) -> None:
        self._armed = True

    def __exit__(self, *exc: object) -> None:
        self._armed = False

    def _exceeded(self, signum: int, frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise SoftTimeLimitExceeded()


def resident_bytes() -> int:
    """Return this process's resident memory in bytes, 0 where the platform does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
