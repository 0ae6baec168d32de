"""A stock ``celery worker`` of a test's own: started until it is ready, stopped with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.waiting import wait_for

_SECONDS_TO_STOP = 20
#: What is shown of a worker's log beside a test that failed, in characters.
_SHOWN = 8000

_made: list[Worker] = []


def logs_since(moment: float) -> list[tuple[str, str]]:
    """Return name and end of the log of each worker that wrote to it at ``moment`` or later.

    Args:
        moment: in seconds since the epoch.
    """
    wrote = [each for each in _made if each.log.exists() and each.log.stat().st_mtime >= moment]
    return [(each.name, text[-_SHOWN:]) for each in wrote if (text := each.text())]


class Worker:
    """One worker. Owns its process and, in ``folder``'s parent, its log."""

    def __init__(self, folder: Path, app: str, name: str, *options: str, **environment: str) -> None:
        self.name = name
        self.log = folder.parent / f"{name}.log"
        self._folder = folder
        self._command = [sys.executable, "-m", "celery", "-A", app, "worker", "-n", f"{name}@%h"]
        self._command += ["-l", "INFO", "--without-gossip", "--without-mingle", *options]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        _made.append(self)

    def start(self) -> Worker:
        """Start it and wait until it takes calls."""
        before = self.text().count(" ready.")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        process = self._process
        wait_for(
            lambda: process.poll() is not None or self.text().count(" ready.") > before,
            what=f"the worker {self.name} is ready",
        )
        assert process.poll() is None, self.text()
        return self

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None
        return self._process.pid

    @property
    def hostname(self) -> str:
        """The name that it goes by in events and remote control."""
        return f"{self.name}@{os.uname().nodename}"

    def pids(self) -> list[int]:
        """The worker's own processes, which Celery started: the main one and its pool."""
        return sorted([self.pid, *(each.pid for each in self._children() if not _is_autocelery(each))])

    def everything(self) -> list[psutil.Process]:
        """Every process that it started, by whatever way."""
        return psutil.Process(self.pid).children(recursive=True)

    def text(self) -> str:
        """What it has written to its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        """End it warmly; then at once, if that takes too long."""
        process = self._process
        if process is None:
            return
        try:
            for number, patience in ((signal.SIGTERM, _SECONDS_TO_STOP), (signal.SIGKILL, 5)):
                if process.poll() is None:
                    process.send_signal(number)
                try:
                    process.wait(patience)
                    return
                except subprocess.TimeoutExpired:
                    print(f"{self.name} did not stop on signal {number}:\n{self.text()[-3000:]}")
        finally:
            self._process = None

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children()


def _is_autocelery(process: psutil.Process) -> bool:
    try:
        return (
            "autocelery" in " ".join(process.cmdline()) and " -A " not in f" {' '.join(process.cmdline())} "
        )
    except psutil.Error:
        return False
