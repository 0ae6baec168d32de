"""The process between an owner and its server: when the owner is gone, so are server and folder.

Run as ``python -I -S guardian.py OWNER_PID GRACE FOLDER [COMMAND...]``, standard library only.
FOLDER is removed at the end (``-``: none). The guardian tells its owner ``started PID`` and
``ended CODE`` on standard output, and ends when

- standard input says ``stop`` or closes, or
- the owner's process is no more, which also covers an owner that was killed while a forked
  child of it still holds the other end of the pipe.

The parent-death signal alone would not do: Linux sends it when the *thread* that started the
child ends. The guardian has one thread, so between it and the server the signal is right.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

#: Seconds between looks at what cannot be waited for.
TICK = 0.25
#: Seconds in which a folder is removed again and again, as long as processes still write to it.
REMOVAL = 5.0


def main(owner: int, grace: float, folder: str, command: list[str]) -> None:
    """Keep ``command`` running for ``owner``, then end its process group and remove ``folder``."""
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    server = _start(command) if command else None
    try:
        _watch(owner, server)
    finally:
        if server is not None:
            _end(server, grace)
        if folder != "-":
            remove_folder(folder)


def remove_folder(folder: str) -> None:
    """Remove ``folder``, read-only folders in it too; others may still be writing to it for a moment."""
    deadline = time.monotonic() + REMOVAL
    while os.path.lexists(folder) and time.monotonic() < deadline:
        for place, folders, _ in os.walk(folder):
            for path in (os.path.join(place, name) for name in folders):
                with contextlib.suppress(OSError):
                    None if os.path.islink(path) else os.chmod(path, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.lexists(folder):
            time.sleep(0.05)


def _start(command: list[str]) -> subprocess.Popen[bytes] | None:
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_prepared(),  # noqa: PLW1509 - safe: this process has one thread
        )
    except OSError as error:
        _tell(f"ended {error.strerror or error}")
        return None
    _tell(f"started {server.pid}")
    return server


def _prepared() -> Callable[[], None]:
    """Return what the server's process does before it becomes the server."""
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    guardian = os.getpid()

    def arrange() -> None:
        for name in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with the guardian
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


def _end(server: subprocess.Popen[bytes], grace: float) -> None:
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(grace)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)  # what it started and left
    server.wait()


def _tell(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more; what follows is the same
        os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:])
