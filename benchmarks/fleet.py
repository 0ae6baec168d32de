"""A stock Celery worker for a benchmark, in a namespace of its own on the Redis that is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
import redis

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
#: How long a worker may take to start or to stop, in seconds.
DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Namespace:
    """A key prefix in Redis and a folder for keys and caches that nobody else uses."""

    prefix: str
    home: Path
    url: str = REDIS_URL
    has_autocelery: bool = True

    @classmethod
    def new(cls, folder: Path, *, has_autocelery: bool = True) -> Namespace:
        """Return a fresh namespace whose ``AUTOCELERY_HOME`` is a new folder in ``folder``."""
        name = f"bench-{uuid4().hex[:8]}"
        return cls(prefix=f"{name}.", home=folder / name, has_autocelery=has_autocelery)

    def environment(self) -> dict[str, str]:
        """Return the variables for a client or a worker."""
        return {
            "BENCH_NAMESPACE": self.prefix,
            "BENCH_BROKER": self.url,
            "BENCH_BACKEND": self.url,
            "BENCH_AUTOCELERY": "1" if self.has_autocelery else "0",
            "AUTOCELERY_HOME": str(self.home),
        }

    def clean(self) -> None:
        """Remove every key of this namespace from Redis."""
        with redis.Redis.from_url(self.url) as connection:
            for key in connection.scan_iter(f"{self.prefix}*", count=1000):
                connection.delete(key)

    def processes(self) -> list[psutil.Process]:
        """Return every process that was started with this namespace, wherever it hangs in the tree."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("BENCH_NAMESPACE") == self.prefix:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


class Worker:
    """``celery -A proj worker`` with the prefork pool and two processes; owns that process and its log.

    Args:
        top: the project's folder, in which the worker runs.
        environment: what its namespace asks for, on top of this process's own variables.
        python: its interpreter, by default that of this process.
    """

    def __init__(self, top: Path, environment: Mapping[str, str], python: Path | None = None) -> None:
        self._top = top
        self._python = str(python or sys.executable)
        self._environment = {**os.environ, **environment, "PYTHONUNBUFFERED": "1"}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._is_ready = threading.Event()
        self.log: list[str] = []

    @property
    def pid(self) -> int:
        """The worker's main process."""
        if self._process is None:
            raise RuntimeError("the worker was not started")
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start the worker and, with ``wait``, return when it says that it is ready."""
        self._is_ready.clear()
        self._process = subprocess.Popen(
            [self._python, "-m", "celery", "-A", "proj", "worker", "--pool=prefork", "--concurrency=2"],
            cwd=self._top,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        if wait and not self._is_ready.wait(DEADLINE):
            self.kill()
            raise RuntimeError("the worker did not start:\n" + "".join(self.log[-40:]))

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.log.append(line)
            del self.log[:-400]
            if line.rstrip().endswith(" ready."):
                self._is_ready.set()

    def stop(self) -> None:
        """Shut the worker down warmly, as a deployment does, and return when it has ended."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the worker and its whole process group at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(DEADLINE)
            self._process = None


def leftovers(namespace: Namespace, deadline: float = 10.0) -> list[str]:
    """End what still runs in ``namespace`` after its worker stopped and return what that was.

    An agent and its hosts have ``deadline`` seconds to follow their worker.
    """
    mine = os.getpid()
    _, alive = psutil.wait_procs(
        [each for each in namespace.processes() if each.pid != mine], timeout=deadline
    )
    names = []
    for process in alive:
        try:
            names.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return names
