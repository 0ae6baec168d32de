"""The agent's zygotes: started clean, given what to preload, replaced when they could preload more."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from autocelery._hosting.groups import end_group
from autocelery._hosting.interiors import Interior
from autocelery.errors import AgentUnavailable
from autocelery_host import frames
from autocelery_host.order import Order

logger = logging.getLogger(__name__)

#: Seconds within which a zygote imports its preload list, and forks.
START_PATIENCE = 60.0
FORK_PATIENCE = 20.0


class HostProcess:
    """A host as its agent sees it: its pid, and how it ended once it has. Its zygote owns the process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        #: As `os.waitpid` gives it; ``None`` also where nobody could tell, since its zygote died.
        self.status: int | None = None
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._then: Callable[[], None] | None = None

    def when_ended(self, then: Callable[[], None]) -> None:
        """Call ``then`` once it has ended, at once if it has."""
        with self._lock:
            self._then = then
        if self.ended.is_set():
            then()

    def note_end(self, status: int | None) -> None:
        """End what its tasks left behind, now that it is gone itself."""
        end_group(self.pid)
        self.status = status
        self.ended.set()
        with self._lock:
            then = self._then
        if then is not None:
            then()

    def terminate(self) -> None:
        """Let its task clean up and end, as a pool process does that is terminated."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it with its whole process group; one that has ended already is left alone."""
        if not self.ended.is_set() and not end_group(self.pid):
            with contextlib.suppress(ProcessLookupError):  # it was forked, and leads no group yet
                os.kill(self.pid, signal.SIGKILL)


class ZygoteProcess:
    """One zygote. Owns its process, its control socket and the thread that reads it."""

    def __init__(self, preload: list[str], interior: Interior) -> None:
        self.hosts: dict[int, HostProcess] = {}
        self.loaded: frozenset[str] = frozenset()
        self.unsafe: frozenset[str] = frozenset()
        #: What its imports looked for; see `autocelery_host.noticing`.
        self.looked_for: dict[str, Any] = {}
        self.alive = True
        self._lock = threading.Lock()
        self._answers: SimpleQueue[HostProcess | None] = SimpleQueue()
        self._ready = threading.Event()
        self._control, theirs = socket.socketpair()
        fd = str(theirs.fileno())
        command = [interior.program, "-P", "-m", "autocelery_host.zygote", fd, str(os.getpid())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd="/",
                env=interior.variables(),
            )
        self.pid = self._process.pid
        with contextlib.suppress(OSError):  # it died already; the reader notes it
            frames.send(self._control, pickle.dumps({"preload": preload}))
        threading.Thread(target=self._read, name="zygote-reader", daemon=True).start()

    def wait_ready(self) -> None:
        """Wait until the preload list is imported.

        Raises:
            AgentUnavailable: it died, or took too long and was killed.
        """
        if not self._ready.wait(START_PATIENCE):
            self.kill()
        if not self.alive:
            raise AgentUnavailable(
                "The zygote that forks hosts did not start. The worker's log has its error; "
                f"`{sys.executable} -c 'import celery, autocelery'` should work on the worker."
            )

    def fork(self, order: Order, sock: socket.socket) -> HostProcess:
        """Fork a host for ``order`` that talks over ``sock``.

        Raises:
            AgentUnavailable: the zygote died, or does not answer and was killed.
        """
        with self._lock:
            try:
                frames.send(self._control, pickle.dumps({"fork": order}), (sock.fileno(),))
                host = self._answers.get(timeout=FORK_PATIENCE)
            except (OSError, Empty):
                host = None
        if host is None:
            self.kill()  # an answer that came later would be taken for the next fork's
            raise AgentUnavailable("The zygote died while it forked a host. Send the call again.")
        return host

    def retire(self) -> None:
        """End once the last host has ended."""
        with contextlib.suppress(OSError):
            frames.send(self._control, pickle.dumps({"retire": True}))

    def kill(self) -> None:
        """End at once, with every host."""
        self.alive = False
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        while (message := self._next()) is not None:
            if "ready" in message:
                self.loaded = frozenset(message["ready"])
                self.unsafe = frozenset(message["unsafe"])
                self.looked_for = message["looked_for"]
                self._ready.set()
            elif "pid" in message:
                host = self.hosts[message["pid"]] = HostProcess(message["pid"])
                self._answers.put(host)
            elif message.get("exit") in self.hosts:
                self.hosts.pop(message["exit"]).note_end(message["status"])
        self.alive = False
        self._ready.set()
        self._answers.put(None)
        for host in list(self.hosts.values()):
            host.kill()
            host.note_end(None)
        self.hosts.clear()
        self._control.close()
        self._process.wait()

    def _next(self) -> dict[str, Any] | None:
        try:
            payload = frames.receive(self._control)
        except (OSError, frames.FrameTooLarge):
            return None
        return None if payload is None else json.loads(payload)


class Zygotes:
    """The zygote that serves now, and the list of what the next one preloads.

    Owns one thread that starts every zygote: the kernel ties a process to the
    life of the thread, not of the process, that started it (prctl(2),
    PR_SET_PDEATHSIG).
    """

    def __init__(self, memory: Path, preload: Collection[str], interior: Interior | None = None) -> None:
        self._memory = memory
        self._interior = interior or Interior()
        self._replacing = threading.Lock()
        self._lock = threading.Lock()
        self._unsafe: set[str] = set()
        self._wanted = list(dict.fromkeys([*preload, *self._remembered()]))
        self._renewing = False
        self._retired = False
        self._spawner = ThreadPoolExecutor(1, "zygote-spawner")
        self._serving = self._spawned(self._wanted)

    def ready(self) -> ZygoteProcess:
        """Return the zygote that serves, started anew if it died.

        Raises:
            AgentUnavailable: it does not start.
        """
        with self._lock:
            if not self._serving.alive:
                if not self._serving.loaded:  # it died of what it preloaded, perhaps: do without
                    self._wanted = []
                self._serving = self._spawned(self._wanted)
            serving = self._serving
        serving.wait_ready()
        return self._without_unsafe(serving) if serving.unsafe else serving

    def fork(self, order: Order, sock: socket.socket) -> HostProcess:
        """Fork a host for ``order`` that talks over ``sock``.

        Raises:
            AgentUnavailable: the zygote died meanwhile, or does not start.
        """
        return self.ready().fork(order, sock)

    def learn(self, modules: list[str]) -> None:
        """Remember what a host had to import itself; a better zygote is made beside the one that serves."""
        with self._lock:
            new = [each for each in modules if each not in self._wanted and each not in self._unsafe]
            if not new or self._renewing or self._retired:
                return
            self._renewing = True
        threading.Thread(target=self._renew, args=(new,), name="zygote-renewal", daemon=True).start()

    def retire(self) -> None:
        """End once the last host has ended; no other is forked."""
        with self._lock:
            self._retired = True
            serving, is_renewing = self._serving, self._renewing
        serving.retire()
        if not is_renewing:  # else the renewal ends what it has started
            self._spawner.shutdown(wait=False)

    def kill(self) -> None:
        """End the zygote that serves, with its hosts."""
        self._serving.kill()

    def _spawned(self, preload: list[str]) -> ZygoteProcess:
        return self._spawner.submit(ZygoteProcess, list(preload), self._interior).result()

    def _without_unsafe(self, serving: ZygoteProcess) -> ZygoteProcess:
        with self._replacing:
            if self._serving is serving:
                self._unsafe |= serving.unsafe
                better, wanted = self._better([each for each in self._wanted if each not in self._unsafe])
                with self._lock:
                    self._serving, self._wanted = better, wanted
                serving.retire()
            return self._serving

    def _renew(self, new: list[str]) -> None:
        try:
            better, wanted = self._better([*self._wanted, *new])
            with self._lock:
                old, self._serving, self._wanted = self._serving, better, wanted
            old.retire()
            self._remember()
        except (AgentUnavailable, OSError) as exc:
            self._unsafe.update(new)
            logger.warning("Not preloaded, each host imports it itself: %s (%s)", ", ".join(new[:5]), exc)
        finally:
            with self._lock:
                self._renewing = False
                is_retired = self._retired
            if is_retired:  # meanwhile
                self.retire()

    def _better(self, wanted: list[str]) -> tuple[ZygoteProcess, list[str]]:
        better = self._spawned(wanted)
        better.wait_ready()
        if better.unsafe:
            self._unsafe |= better.unsafe
            wanted = [each for each in wanted if each not in better.unsafe]
            better.kill()
            better = self._spawned(wanted)
            better.wait_ready()
        return better, wanted

    def _remembered(self) -> list[str]:
        try:
            names = json.loads(self._memory.read_text())
        except (OSError, ValueError):
            return []
        return [each for each in names if isinstance(each, str)] if isinstance(names, list) else []

    def _remember(self) -> None:
        scratch = self._memory.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):  # a full disk costs the next start some milliseconds
            scratch.write_text(json.dumps(self._wanted))
            scratch.replace(self._memory)
