"""A process, and a folder, that never outlive their owner."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from autocelery._broker import guardian

logger = logging.getLogger("autocelery.broker")


class GuardedProcess:
    """Owner of a process that runs beside this one, of its process group and of a folder.

    All of it is gone after `stop` or `kill`, and soon after this process is, even if that was
    killed with SIGKILL. The process does not get this terminal's Ctrl-C.

    Args:
        command: what to run; nothing, if only the folder is to be guarded.
        folder: removed at the end; ``None``: none.
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, command: Sequence[str], folder: Path | None, grace: float = 2.0) -> None:
        self._command = list(command)
        self._folder = folder
        self._grace = grace
        self._guardian: subprocess.Popen[bytes] | None = None
        self._heard = b""

    def start(self, environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        """Start the process; it may not have begun yet when this returns.

        Args:
            environment: its environment variables; default: this process's.
            cwd: its working directory; default: this process's.
        """
        script = [sys.executable, "-I", "-S", guardian.__file__, str(os.getpid()), str(self._grace)]
        self._guardian = subprocess.Popen(
            [*script, str(self._folder or "-"), *self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=environment,
            cwd=cwd,
        )

    def listen(self, timeout: float = 0.0) -> None:
        """Wait up to ``timeout`` seconds for news of the process; `pid` and `ended` know them then."""
        owned = self._guardian
        if owned is None or owned.stdout is None or self.ended is not None:
            return
        if select.select([owned.stdout], [], [], timeout)[0]:
            self._heard += os.read(owned.stdout.fileno(), 4096) or b"ended with its guardian\n"

    @property
    def pid(self) -> int | None:
        """The process's pid, once it was heard that it has started."""
        _, told, rest = self._heard.partition(b"started ")
        return int(rest.split()[0]) if told and rest.endswith(b"\n") else None

    @property
    def ended(self) -> str | None:
        """Why the process ended, once that was heard: its exit code, or why it could not start."""
        _, told, rest = self._heard.partition(b"ended ")
        return rest.decode(errors="replace").strip() if told else None

    def stop(self, deadline: float = 5.0) -> None:
        """End the process within ``deadline`` seconds and remove the folder, killing it if need be."""
        owned = self._guardian
        if owned is not None and owned.stdin is not None:
            with contextlib.suppress(OSError):  # it is gone already
                owned.stdin.write(b"stop\n")
                owned.stdin.close()
            try:
                owned.wait(deadline)
            except subprocess.TimeoutExpired:
                logger.warning("%s did not end in %s s: killing it", self._command[:1], deadline)
        self.kill()

    def kill(self) -> None:
        """End the process and its process group at once and remove the folder."""
        owned, self._guardian = self._guardian, None
        if owned is None:
            return
        if owned.poll() != 0:  # after a clean end the group's number may be somebody else's
            for group in (owned.pid, self.pid):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL) if group else None
            owned.wait()
        for stream in (owned.stdin, owned.stdout):
            if stream is not None:
                stream.close()
        if self._folder is not None:
            guardian.remove_folder(str(self._folder))

    def wait(self, timeout: float) -> bool:
        """Return whether the process ended within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.ended is None and time.monotonic() < deadline:
            self.listen(max(0.0, deadline - time.monotonic()))
        return self.ended is not None
