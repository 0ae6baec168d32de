"""One process that is kept running: started again when it ends, slower each time; stopped without losing a task."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from autocelery._celery.supervised import VARIABLE
from autocelery._up import leash, memory, place
from autocelery._up.plan import STEADY_SECONDS, ProcessPlan

#: Seconds before a process that has ended is started again: doubled each time, up to the last.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
#: A process that ended as often without ever being steady is given up.
STARTS = 5
#: Lines of output that are remembered.
_LINES = 1000
_LONGEST_LINE = 1 << 20
_MEMORY_SECONDS = 2.0
#: Also as a part of a line of JSON.
_READY = re.compile(rb"\S+@\S+ ready\.")
#: What Celery takes as an order to drop what it runs, and Python programs as a reason to say where they are.
_COLD = signal.SIGQUIT


class State(StrEnum):
    """What a process is about."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    WAITING = "waiting to start again"
    FAILED = "failed"


class Process:
    """One process, and what it was told to be. Owns it and its process group, and a task that watches it.

    Args:
        plan: what to run.
        folder: where.
        write: takes each line that it writes.
        changed: is called when its state changes.
    """

    def __init__(
        self,
        plan: ProcessPlan,
        folder: Path,
        write: Callable[[str, bytes], None],
        changed: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.state = State.STOPPED
        self.starts = 0
        self.said = ""
        self.since = time.time()
        self.lines: deque[bytes] = deque(maxlen=_LINES)
        #: Of those who follow what it writes; one that does not keep up misses lines.
        self.followers: set[asyncio.Queue[tuple[Process, bytes]]] = set()
        self._folder, self._write, self._changed = folder, write, changed
        self._running: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_wanted = False
        self._fast_ends = 0
        #: Who is told to start it while it is being stopped waits until it is.
        self._orders = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Its pid while it runs."""
        return self._running.pid if self._running is not None else None

    async def start(self) -> None:
        """Have it running, from now on."""
        async with self._orders:
            self._is_wanted, self._fast_ends = True, 0
            if self._watching is None or self._watching.done():
                self._watching = asyncio.create_task(self._keep_running(), name=f"up {self.plan.name}")

    async def stop(self) -> None:
        """End it: SIGTERM, at which a worker ends what it runs; after its seconds, SIGKILL for all of its group."""
        async with self._orders:
            await self._stop()

    async def _stop(self) -> None:
        self._is_wanted = False
        running, watching = self._running, self._watching
        if running is not None:
            self._become(State.STOPPING)
            self.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(running.wait(), self.plan.stop_seconds)
        self.kill()
        if watching is not None:
            if running is None:
                watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        self._become(State.STOPPED)

    def note_ready(self) -> None:
        """Take its word that it is ready."""
        if self.state is State.STARTING:
            self._become(State.READY)

    def hurry(self) -> None:
        """Have it end at once, as far as it can without losing a task that is acknowledged late."""
        self.signal(_COLD)

    def signal(self, number: int) -> None:
        """Send its main process a signal."""
        if self._running is not None and self._running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._running.send_signal(number)

    def kill(self) -> None:
        """End what is left of its process group."""
        if self._running is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._running.pid, signal.SIGKILL)

    async def _keep_running(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            began = time.monotonic()
            ended = await self._run_once()
            if not self._is_wanted:
                return
            lasted = time.monotonic() - began
            is_fast = lasted < STEADY_SECONDS
            self._fast_ends = self._fast_ends + 1 if is_fast else 0
            pause = min(pause * 2, _LONGEST_PAUSE) if is_fast else _FIRST_PAUSE
            self.said = f"{ended} after {lasted:.1f} s"
            if self._fast_ends >= STARTS and self.plan.gives_up:
                self._is_wanted = False
                self._become(State.FAILED)
                return
            self._become(State.WAITING)
            await asyncio.sleep(pause)

    async def _run_once(self) -> str:
        """Run it to its end; return how it ended."""
        self._become(State.STARTING)
        self.starts += 1
        try:
            self._running = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(self.plan.niceness)),
                *self.plan.command,
                cwd=self._folder,
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                limit=_LONGEST_LINE,
            )
        except OSError as exc:  # its folder is gone, or there are too many processes or open files
            self._write(self.plan.name, f"cannot be started: {exc}\n".encode())
            return f"could not be started ({exc.strerror})"
        helpers = [asyncio.create_task(each) for each in (self._read(), self._settle(), self._weigh())]
        try:
            code = await self._running.wait()
        finally:
            self.kill()  # what it left behind
            for each in helpers[1:]:
                each.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(helpers[0], 2)
            self._running = None
        return _ended(code)

    async def _read(self) -> None:
        assert self._running is not None
        assert self._running.stdout is not None
        while True:
            try:
                line = await self._running.stdout.readline()
            except ValueError:  # a line that is longer than anybody reads
                continue
            if not line:
                return
            self.lines.append(line)
            self._write(self.plan.name, line)
            for each in self.followers:
                with contextlib.suppress(asyncio.QueueFull):
                    each.put_nowait((self, line))
            if self.plan.says_ready and _READY.search(line):
                self.note_ready()

    async def _settle(self) -> None:
        """Call a process without a word of its own ready when it has run for a while."""
        await asyncio.sleep(STEADY_SECONDS)
        if not self.plan.says_ready:
            self.note_ready()

    async def _weigh(self) -> None:
        limit = self.plan.memory_limit
        while limit is not None:
            await asyncio.sleep(_MEMORY_SECONDS)
            pid = self.pid
            taken = memory.of_tree(pid) if pid is not None else 0
            if taken > limit:
                self.said = f"took {taken >> 20} MB, over its limit of {limit >> 20} MB"
                self._write(self.plan.name, f"{self.said}: it is started again\n".encode())
                self._become(State.STOPPING)
                self.signal(signal.SIGTERM)
                await asyncio.sleep(self.plan.stop_seconds)
                self.kill()

    def _environment(self) -> dict[str, str]:
        """Return its variables: its own, and where it may say that it is ready."""
        ours = {"PATH": path(), "PYTHONUNBUFFERED": "1", VARIABLE: str(place.socket_of(self._folder))}
        return {**os.environ, **ours, **dict(self.plan.environment)}

    def _become(self, state: State) -> None:
        if state is not self.state:
            self.state, self.since = state, time.time()
            self._changed()


def path() -> str:
    """Return where commands are looked for: first in the venv that this runs in, activated or not."""
    given = os.environ.get("PATH", os.defpath)
    return given if sys.prefix == sys.base_prefix else os.pathsep.join((str(Path(sys.prefix, "bin")), given))


def _ended(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
