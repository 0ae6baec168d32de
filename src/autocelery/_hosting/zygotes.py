"""The agent's zygotes: started clean, given what to preload, replaced when they could preload more."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from autocelery.errors import AgentUnavailable
from autocelery_host import frames
from autocelery_host.order import Order

#: Seconds within which a zygote imports its preload list, and forks.
START_PATIENCE = 60.0
FORK_PATIENCE = 20.0


class ZygoteProcess:
    """One zygote. Owns its process, its control socket and the thread that reads it."""

    def __init__(self, preload: list[str], on_exit: Callable[[int], None]) -> None:
        self.hosts: set[int] = set()
        self.loaded: frozenset[str] = frozenset()
        self.unsafe: frozenset[str] = frozenset()
        self.alive = True
        self._on_exit = on_exit
        self._lock = threading.Lock()
        self._answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._ready = threading.Event()
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [
                sys.executable,
                "-P",
                "-m",
                "autocelery_host.zygote",
                str(theirs.fileno()),
                str(os.getpid()),
            ]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, cwd="/"
            )
        self.pid = self._process.pid
        frames.send(self._control, pickle.dumps({"preload": preload}))
        threading.Thread(target=self._read, name="zygote-reader", daemon=True).start()

    def wait_ready(self) -> None:
        """Wait until the preload list is imported.

        Raises:
            AgentUnavailable: it died, or took too long.
        """
        if not self._ready.wait(START_PATIENCE) or not self.alive:
            raise AgentUnavailable(
                "The zygote that forks hosts did not start. The worker's log has its error; "
                f"`{sys.executable} -c 'import celery, autocelery'` should work on the worker."
            )

    def fork(self, order: Order, sock: socket.socket) -> int:
        """Fork a host for ``order`` that talks over ``sock``; returns its pid.

        Raises:
            AgentUnavailable: the zygote died.
        """
        with self._lock:
            try:
                frames.send(self._control, pickle.dumps({"fork": order}), (sock.fileno(),))
                answer = self._answers.get(timeout=FORK_PATIENCE)
            except (OSError, Empty):
                answer = {}
        if "pid" not in answer:
            raise AgentUnavailable("The zygote died while it forked a host. Send the call again.")
        return int(answer["pid"])

    def retire(self) -> None:
        """End once the last host has ended."""
        with contextlib.suppress(OSError):
            frames.send(self._control, pickle.dumps({"retire": True}))

    def kill(self) -> None:
        """End at once, with every host."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        while (message := self._next()) is not None:
            if "ready" in message:
                self.loaded = frozenset(message["ready"])
                self.unsafe = frozenset(message["unsafe"])
                self._ready.set()
            elif "pid" in message:
                self.hosts.add(message["pid"])
                self._answers.put(message)
            elif "exit" in message:
                self.hosts.discard(message["exit"])
                self._on_exit(message["exit"])
        self.alive = False
        self._ready.set()
        self._answers.put({})
        for pid in list(self.hosts):
            end_group(pid)
        self._process.wait()

    def _next(self) -> dict[str, Any] | None:
        try:
            payload = frames.receive(self._control)
        except (OSError, frames.FrameTooLarge):
            return None
        return None if payload is None else json.loads(payload)


class Zygotes:
    """The zygote that serves now, and the list of what the next one preloads."""

    def __init__(self, memory: Path, on_exit: Callable[[int], None]) -> None:
        self._memory = memory
        self._on_exit = on_exit
        self._lock = threading.Lock()
        self._unsafe: set[str] = set()
        self._wanted = self._remembered()
        self._renewing = False
        self._serving = ZygoteProcess(self._wanted, on_exit)

    def ready(self) -> ZygoteProcess:
        """Return the zygote that serves, started anew if it died."""
        with self._lock:
            if not self._serving.alive:
                self._serving = ZygoteProcess(self._wanted, self._on_exit)
            serving = self._serving
        serving.wait_ready()
        return serving

    def learn(self, modules: list[str]) -> None:
        """Remember what a host had to import itself; a better zygote is made beside the one that serves."""
        with self._lock:
            new = [each for each in modules if each not in self._wanted and each not in self._unsafe]
            if not new or self._renewing:
                return
            self._wanted += new
            self._renewing = True
        threading.Thread(target=self._renew, name="zygote-renewal", daemon=True).start()

    def kill(self) -> None:
        """End the zygote that serves, with its hosts."""
        self._serving.kill()

    def _renew(self) -> None:
        better = ZygoteProcess(self._wanted, self._on_exit)
        with contextlib.suppress(AgentUnavailable):
            better.wait_ready()
            if better.unsafe:
                self._unsafe |= better.unsafe
                self._wanted = [each for each in self._wanted if each not in better.unsafe]
                better.kill()
                better = ZygoteProcess(self._wanted, self._on_exit)
                better.wait_ready()
            with self._lock:
                old, self._serving = self._serving, better
            old.retire()
            self._remember()
        self._renewing = False

    def _remembered(self) -> list[str]:
        try:
            names = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return []
        return [each for each in names if isinstance(each, str)]

    def _remember(self) -> None:
        scratch = self._memory.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk costs the next start some milliseconds
            scratch.write_text(json.dumps(self._wanted))
            scratch.replace(self._memory)


def end_group(pid: int) -> None:
    """Kill the process group that ``pid`` leads: a host, and what its tasks started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
