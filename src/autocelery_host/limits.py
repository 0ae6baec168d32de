"""How a host dies with whoever owns it, and how the soft time limit reaches the running task."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from types import FrameType

from billiard.exceptions import SoftTimeLimitExceeded
from billiard.pool import soft_timeout_sighandler

#: prctl(2): the signal that a process gets when its parent dies.
_PR_SET_PDEATHSIG = 1
#: The same: whether a process may be traced, and dump its memory into a file when it crashes.
_PR_SET_DUMPABLE = 4

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


def keep_memory_private() -> None:
    """Keep this process's memory out of core dumps, and from processes of the same user that have no privileges."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


class Armed:
    """Lets a soft time limit, and the end of the worker's process, raise in the task that runs, and only there.

    Inside ``with armed:`` the handlers are those of a pool process. Before
    it, while a call is prepared, a soft limit is remembered; when nothing
    runs it does nothing, as it was meant for a call that has ended.
    """

    def __init__(self) -> None:
        self._exceeded = False

    def install(self) -> None:
        """Take over the signals, once, of this process alone; call it from the main thread."""
        self.__exit__()
        _leave_to_the_kernel_in_children()

    def begin(self) -> None:
        """Forget what was meant for the call before."""
        self._exceeded = False

    def __enter__(self) -> None:
        signal.signal(SOFT_LIMIT_SIGNAL, soft_timeout_sighandler)
        signal.signal(signal.SIGTERM, _exit)
        if self._exceeded:
            self.__exit__()
            raise SoftTimeLimitExceeded()

    def __exit__(self, *exc: object) -> None:
        signal.signal(SOFT_LIMIT_SIGNAL, self._remember)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        self._exceeded = True


def _exit(signum: int, frame: FrameType | None) -> None:
    """Leave the task by SystemExit, so that what it has to clean up is cleaned up."""
    raise SystemExit(-(256 - signum))  # the status that a pool process exits with


def _leave_to_the_kernel_in_children() -> None:
    """Have SIGTERM end what a task forks, as it does in any script.

    A handler of Python's would be lost on a child that waits for a lock just
    then, and ``multiprocessing.Pool`` would wait for that child for ever. The
    signal is blocked while the process forks, so that none comes between.
    """
    before = threading.local()

    def block() -> None:
        before.blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))

    def as_before() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before.blocked)

    def leave() -> None:
        if signal.getsignal(signal.SIGTERM) is _exit:  # not what the task itself has set
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        as_before()

    os.register_at_fork(before=block, after_in_parent=as_before, after_in_child=leave)


def resident_bytes() -> int:
    """Return this process's resident memory in bytes, 0 where the platform does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
