"""The main loop: start in order, serve until told, stop in the other order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from autocelery._up import control, place
from autocelery._up.output import Output
from autocelery._up.plan import Plan
from autocelery._up.probe import Probe
from autocelery._up.process import STARTS, Process, State

DONE, FAILED = 0, 1


class Supervisor:
    """Runs a plan until it is told to stop, or a process dies at every start. Owns the processes and the socket.

    Args:
        plan: what to run.
        called: what its own lines begin with.
    """

    def __init__(self, plan: Plan, called: str = "up") -> None:
        self._plan = plan
        self._called = called
        self._out = Output([called, *(each.name for each in plan.processes)])
        self._changed = asyncio.Event()
        self._processes = {
            each.name: Process(each, plan.folder, self._out.write, self._note_change)
            for each in plan.processes
        }
        self._is_ending = False
        self._orders = 0
        self._followers: set[asyncio.Task[Any]] = set()

    async def run(self) -> int:
        """Run everything; return the exit code.

        Raises:
            UpUnavailable: it is up already, or the probe's port is taken.
        """
        loop = asyncio.get_running_loop()
        with control.only_one(self._plan.folder):
            async with Probe(self._plan.http, self.is_ready), self._control():
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self._order_to_end, number)
                if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
                    loop.add_signal_handler(signal.SIGHUP, self._order_to_end, signal.SIGHUP)
                loop.add_signal_handler(signal.SIGCHLD, self._reap)
                starting = asyncio.create_task(self._start_all())
                failed = await self._until_the_end()
                starting.cancel()
                await self._stop_all()
        return FAILED if failed else DONE

    def is_ready(self) -> tuple[bool, dict[str, str]]:
        """Return whether all that is wanted is ready, and the state of each."""
        states = {name: str(each.state) for name, each in self._processes.items()}
        wanted = [each for each in self._processes.values() if each.state is not State.STOPPED]
        return bool(wanted) and all(each.state is State.READY for each in wanted), states

    async def _start_all(self) -> None:
        for each in self._plan.processes:
            for other in each.after:
                while self._processes[other].state is not State.READY:
                    await self._changed.wait()
            await self._processes[each.name].start()

    async def _until_the_end(self) -> bool:
        """Wait until everything is to end; return whether that is because a process died at every start."""
        while not self._is_ending:
            dead = [each for each in self._processes.values() if each.state is State.FAILED]
            if dead:
                for each in dead:
                    self._say(f"{each.plan.name} {each.said}, {STARTS} times in a row, and is given up.")
                return True
            await self._changed.wait()
        return False

    async def _stop_all(self) -> None:
        """Stop in the other order: what others need goes last."""
        self._is_ending = True
        needed_by = {
            each.name: [other.name for other in self._plan.processes if each.name in other.after]
            for each in self._plan.processes
        }
        stops: dict[str, asyncio.Task[None]] = {}

        async def stop(name: str) -> None:
            for other in needed_by[name]:
                await stops[other]
            await self._processes[name].stop()

        for each in reversed(self._plan.processes):
            stops[each.name] = asyncio.create_task(stop(each.name))
        await asyncio.gather(*stops.values())
        for follower in self._followers:
            follower.cancel()

    def _order_to_end(self, number: int) -> None:
        """End when told once; when told again, have workers drop what can be sent again; then kill."""
        self._orders += 1
        self._is_ending = True
        name = signal.Signals(number).name
        if self._orders == 1:
            self._say(f"{name}: everything ends what it is doing. Once more: now.")
        elif self._orders == 2:
            self._say(f"{name} again: what runs is dropped; acknowledged late, it is sent again.")
            for each in self._processes.values():
                each.hurry()
        else:
            for each in self._processes.values():
                each.kill()
        self._note_change()

    def _reap(self) -> None:
        """As process 1, take leave of orphans; never of our own, which others wait for."""
        if os.getpid() != 1:
            return
        ours = {each.pid for each in self._processes.values()}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
                pid = int(path.parent.name)
                if state == "Z" and parent == "1" and pid not in ours:
                    os.waitpid(pid, os.WNOHANG)

    def _note_change(self) -> None:
        """Wake whoever waits; the next change is another event, so that each of them sees it."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _say(self, text: str) -> None:
        self._out.write(self._called, text.encode())

    @contextlib.asynccontextmanager
    async def _control(self) -> AsyncIterator[None]:
        listener = control.listen(self._plan.folder)
        server = await asyncio.start_unix_server(self._serve, sock=listener)
        try:
            yield
        finally:
            server.close()
            place.socket_of(self._plan.folder).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._followers.add(task)
        try:
            if control.is_ours(writer.get_extra_info("socket")):
                async for answer in self._answers(json.loads(await reader.readline())):
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # who asked is gone, or asked nothing that makes sense
        finally:
            self._followers.discard(task)
            writer.close()

    async def _answers(self, question: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        do, name = question.get("do"), question.get("name")
        if do == "ready":
            self._hear_ready(question.get("pid"))
            return
        if name is not None and name not in self._processes:
            yield {"error": f"There is no process {name}. There are: {', '.join(self._processes)}."}
            return
        chosen = [self._processes[name]] if name else list(self._processes.values())
        if do == "logs":
            async for line in self._logs(
                chosen, bool(question.get("follow")), int(question.get("lines", 100))
            ):
                yield line
            return
        if refused := await self._obey(do, chosen):
            yield {"error": refused}
            return
        is_ready, _ = self.is_ready()
        for each in chosen:
            yield {
                "name": each.plan.name,
                "state": str(each.state),
                "pid": each.pid,
                "starts": each.starts,
                "since": each.since,
                "said": each.said,
                "command": list(each.plan.command),
                "up_is_ready": is_ready,
            }

    async def _obey(self, do: object, chosen: list[Process]) -> str:
        """Do to processes what is ordered; return why it cannot be done."""
        if do in ("stop", "restart"):
            await asyncio.gather(*(each.stop() for each in chosen))
        if do in ("start", "restart"):
            if self._is_ending:
                return f"The {self._called} of {self._plan.folder} is ending: it starts nothing."
            await asyncio.gather(*(each.start() for each in chosen))
        if do == "shutdown":
            self._order_to_end(signal.SIGTERM)
        return ""

    def _hear_ready(self, pid: object) -> None:
        """Take the word of a worker of ours that it is ready."""
        for each in self._processes.values():
            if pid is not None and each.pid == pid:
                each.note_ready()

    async def _logs(self, chosen: list[Process], follow: bool, most: int) -> AsyncIterator[dict[str, Any]]:
        for each in chosen:
            for line in list(each.lines)[max(len(each.lines) - most, 0) :]:
                yield _line(each, line)
        if not follow:
            return
        queue: asyncio.Queue[tuple[Process, bytes]] = asyncio.Queue(10_000)
        for each in chosen:
            each.followers.add(queue)
        try:
            while True:
                yield _line(*(await queue.get()))
        finally:
            for each in chosen:
                each.followers.discard(queue)


def _line(process: Process, line: bytes) -> dict[str, Any]:
    return {"name": process.plan.name, "line": line.decode(errors="replace").rstrip("\r\n")}
