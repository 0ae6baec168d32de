"""A program that ends, with whatever it started, as soon as nobody holds the other end of a pipe.

Run as ``python -I -S leash.py FD COMMAND...``, standard library only, as the leader of a process group. FD is
the reading end. The status is the program's, or 128 and the number of the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable

#: Seconds between two looks where the end of a process cannot be waited for.
_TICK = 0.1


def main(pipe: int, command: list[str]) -> int:
    """Run ``command`` until it ends, or the pipe does."""
    program = subprocess.Popen(command, preexec_fn=_prepared())  # noqa: PLW1509 - safe: one thread
    handles = _handle_of(program.pid)
    while program.poll() is None:
        if pipe in select.select([pipe, *handles], [], [], None if handles else _TICK)[0]:
            os.killpg(0, signal.SIGKILL)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def _handle_of(pid: int) -> list[int]:
    """Return a descriptor that becomes readable when the process ends, where there is such a thing."""
    with contextlib.suppress(AttributeError, OSError):
        return [os.pidfd_open(pid)]
    return []


def _prepared() -> Callable[[], None]:
    """Return what the program's process does first: on Linux it ends with this one, which may be killed too."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    leash = os.getpid()

    def arrange() -> None:
        if libc is not None:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            if os.getppid() != leash:
                os._exit(1)

    return arrange


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
