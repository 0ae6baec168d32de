"""The process between an owner and its server: when the owner is gone, so are server and folder.

Run as ``python -I -S guardian.py OWNER_PID FOLDER [COMMAND...]``, standard library only. It
tells its owner ``started PID`` and ``ended CODE`` on standard output, and ends when

- standard input says ``stop`` or closes, or
- the owner's process is no more, which also covers an owner that was killed while a forked
  child of it still holds the other end of the pipe.

The parent-death signal alone would not do: Linux sends it when the *thread* that started the
child ends. The guardian has one thread, so between it and the server the signal is right.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

#: Seconds a server has to end after SIGTERM; it has nothing to save.
GRACE = 2.0
#: Seconds between looks at what cannot be waited for.
TICK = 0.25


def main(owner: int, folder: str, command: list[str]) -> None:
    """Keep ``command`` running for ``owner``, then remove ``folder``."""
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    server = _start(command) if command else None
    try:
        _watch(owner, server)
    finally:
        if server is not None:
            _end(server)
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: list[str]) -> subprocess.Popen[bytes] | None:
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - safe: this process has one thread
        )
    except OSError as error:
        _tell(f"ended {error.strerror or error}")
        return None
    _tell(f"started {server.pid}")
    return server


def _die_with_parent() -> Callable[[], None] | None:
    """Return what makes the kernel kill the server if the guardian itself is killed."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    guardian = os.getpid()

    def arrange() -> None:
        for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != guardian:
            os._exit(1)

    return arrange


def _watch(owner: int, server: subprocess.Popen[bytes] | None) -> None:
    """Return when the server is no longer wanted; tell the owner if it ended by itself."""
    watched: list[int] = [0, *_owner_handle(owner)]
    while os.getppid() == owner:
        if select.select(watched, [], [], TICK)[0]:
            return
        if server is not None and server.poll() is not None:
            _tell(f"ended {server.returncode}")
            server = None


def _owner_handle(owner: int) -> list[int]:
    """Return a descriptor that becomes readable when the owner ends, where there is such a thing."""
    try:
        return [os.pidfd_open(owner)]
    except (AttributeError, OSError):
        return []


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(GRACE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _tell(text: str) -> None:
    try:
        os.write(1, f"{text}\n".encode())
    except OSError:
        return  # nobody listens any more; what follows is the same


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
