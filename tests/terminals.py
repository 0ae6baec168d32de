"""A command on a terminal of its own, to be typed at. Only where there are such terminals."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.waiting import PATIENCE, wait_for

#: Makes the terminal the one that Ctrl-C is typed at, then becomes the command.
_ATTACHED = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored in what a shell starts in the background
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """Owns the terminal, the process on it, and a thread that reads what is shown. Use it in ``with``.

    Args:
        command: the program and its arguments.
        folder: its working directory.
        environment: its variables.
        stdout: where its standard output goes instead, if it goes elsewhere.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], stdout: int | None = None
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [command[0], "-c", _ATTACHED, *command],
            cwd=folder,
            env={**environment, "TERM": "xterm", "COLUMNS": "120"},
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._shown = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._ours)

    @property
    def shown(self) -> str:
        """All that was shown so far."""
        return self._shown.decode(errors="replace")

    def type(self, text: str) -> None:
        """Type ``text``; ``\\x03`` is Ctrl-C."""
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, deadline: float = PATIENCE) -> None:
        """Wait until ``text`` is shown."""
        try:
            wait_for(lambda: text in self.shown, deadline, f"{text!r} is shown")
        except AssertionError as late:
            late.add_note(f"shown was: {self.shown!r}")
            raise

    def ended(self, deadline: float = PATIENCE) -> int:
        """Wait for the end of the process and return its exit code."""
        code = self.process.wait(deadline)
        self._reader.join(5)
        return code

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the last process has let go of it
            while part := os.read(self._ours, 65_536):
                self._shown += part
