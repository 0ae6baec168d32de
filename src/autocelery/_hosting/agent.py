"""The agent: the one process per worker that owns its snapshot cache, zygotes and hosts.

It listens on a private Unix socket that the worker made and inherited to it.
Each connection is a lease, or a question: frames of JSON, ``{"op": "lease",
"snapshot": …, "key": …}`` answered with ``{"pid": n}`` and the host's socket
beside it, or with ``{"error": [class, message]}``; ``{"op": "status"}``;
``{"op": "revoke", "snapshot": …, "envelope": hex}``. A lease lasts as long as
its connection: whoever holds it may die in any way, and the host's process
group is killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import select
import selectors
import shutil
import signal
import socket
import sys
import threading
import time
from typing import Any

from autocelery._hosting.preparing import Preparer
from autocelery._hosting.terms import AgentTerms
from autocelery._hosting.zygotes import Zygotes, end_group
from autocelery.errors import AutoceleryError, HostLost, SnapshotRevoked
from autocelery_host import frames

logger = logging.getLogger(__name__)

#: Seconds that a host which was given back has to end by itself.
RELEASE_SECONDS = 1.0


def main() -> None:
    """Run the agent whose listening socket is file descriptor ``argv[1]`` and whose terms are on standard input."""
    terms: AgentTerms = pickle.load(sys.stdin.buffer)
    logging.basicConfig(
        format="[%(asctime)s: %(levelname)s/autocelery-agent] %(message)s", level=logging.INFO
    )
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener = socket.socket(fileno=int(sys.argv[1]))
    Agent(terms, listener).serve()


class Agent:
    """Serves leases. Owns the zygotes, the preparer, and a thread per connection."""

    def __init__(self, terms: AgentTerms, listener: socket.socket) -> None:
        self._terms = terms
        self._listener = listener
        self._preparer = Preparer(terms)
        self._zygotes = Zygotes(self._preparer.folder / "preload.json", self._host_ended)
        self._leases: dict[int, tuple[str, socket.socket]] = {}
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Accept connections until the worker is gone; then nothing is left behind."""
        try:
            with contextlib.closing(_ParentWatch(self._terms.parent)) as parent:
                while parent.alive_until(self._listener):
                    connection, _ = self._listener.accept()
                    threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
        finally:
            for pid in list(self._leases):
                self._end(pid)
            self._zygotes.kill()
            if not _is_alive(self._terms.parent):
                shutil.rmtree(self._terms.folder, ignore_errors=True)

    def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, frames.FrameTooLarge):
            payload = frames.receive(connection)
            if payload is None:
                return
            question = json.loads(payload)
            if question["op"] == "lease":
                self._lend(connection, question["snapshot"], question["key"])
            else:
                frames.send(connection, json.dumps(self._answer(question)).encode())

    def _lend(self, connection: socket.socket, snapshot: str, key: str) -> None:
        with self._preparer.using(snapshot):
            try:
                pid, host = self._start_host(connection, snapshot, key)
            except AutoceleryError as exc:
                _log_refusal(snapshot, exc)
                return frames.send(
                    connection, json.dumps({"error": [type(exc).__name__, exc.message]}).encode()
                )
            except Exception as exc:
                logger.exception("Snapshot %s: the agent failed", snapshot[:12])
                message = f"The agent could not prepare snapshot {snapshot[:12]}: {type(exc).__name__}: {exc}"
                return frames.send(connection, json.dumps({"error": ["AgentUnavailable", message]}).encode())
            try:
                with host:
                    frames.send(connection, json.dumps({"pid": pid}).encode(), (host.fileno(),))
                self._hold(connection, pid)
            finally:
                self._end(pid)

    def _start_host(self, connection: socket.socket, snapshot: str, key: str) -> tuple[int, socket.socket]:
        order = self._preparer.order(snapshot, key)
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._zygotes.ready().fork(order, theirs)
        with self._lock:
            self._leases[pid] = (snapshot, connection)
        try:
            told = self._first_word(connection, ours, snapshot, pid)
        except BaseException:
            ours.close()
            self._end(pid)
            raise
        self._zygotes.learn(told["ready"])
        return pid, ours

    def _first_word(
        self, connection: socket.socket, host: socket.socket, snapshot: str, pid: int
    ) -> dict[str, Any]:
        """Wait until the host has imported its app, for as long as somebody wants it."""
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(host, select.POLLIN)
        if any(fd == connection.fileno() for fd, _ in poll.poll()):
            raise HostLost(f"Whoever asked for snapshot {snapshot[:12]} is gone.")
        payload = frames.receive(host)
        if payload is None:
            raise HostLost(
                f"The host process {pid} died while it imported snapshot {snapshot[:12]}: a crash in native code, "
                "os._exit, or out of memory. Import the app where you call from to see it."
            )
        told: dict[str, Any] = json.loads(payload)
        if "failed" in told:
            kind = getattr(sys.modules["autocelery.errors"], told["failed"][0], AutoceleryError)
            raise kind(told["failed"][1])
        return told

    def _hold(self, connection: socket.socket, pid: int) -> None:
        """Wait for the lease's end; one that was released lets the host end by itself first."""
        payload = None
        with contextlib.suppress(OSError, frames.FrameTooLarge):
            payload = frames.receive(connection)
        deadline = time.monotonic() + RELEASE_SECONDS
        while payload and time.monotonic() < deadline and _is_alive(pid):
            time.sleep(0.02)

    def _end(self, pid: int) -> None:
        if self._leases.pop(pid, None):  # else it was reaped, and its pid may be another's by now
            end_group(pid)

    def _host_ended(self, pid: int) -> None:
        """End what the host's tasks left behind; the lease's holder sees the host's socket close."""
        self._leases.pop(pid, None)
        end_group(pid)

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if question["op"] == "revoke":
            return self._revoke(question["snapshot"], bytes.fromhex(question["envelope"]))
        zygote = self._zygotes.ready()
        return {
            "pid": os.getpid(),
            "zygote": zygote.pid,
            "hosts": {str(pid): snapshot for pid, (snapshot, _) in list(self._leases.items())},
            "preloaded": len(zygote.loaded),
        }

    def _revoke(self, snapshot: str, envelope: bytes) -> dict[str, Any]:
        try:
            self._preparer.revoke(snapshot, envelope)
        except SnapshotRevoked:
            doomed = [pid for pid, (each, _) in list(self._leases.items()) if each == snapshot]
            for pid in doomed:
                end_group(pid)
            return {"revoked": True, "hosts": len(doomed)}
        return {"revoked": False, "hosts": 0}


class _ParentWatch:
    """Tells whether the worker still lives: by a pidfd on Linux, by asking now and then elsewhere."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._ready = selectors.DefaultSelector()
        self._pidfd = os.pidfd_open(parent) if hasattr(os, "pidfd_open") and _is_alive(parent) else None
        if self._pidfd is not None:
            self._ready.register(self._pidfd, selectors.EVENT_READ)

    def alive_until(self, listener: socket.socket) -> bool:
        """Wait until somebody connects (true) or the parent is gone (false)."""
        if listener not in [key.fileobj for key in self._ready.get_map().values()]:
            self._ready.register(listener, selectors.EVENT_READ)
        while True:
            events = {key.fileobj for key, _ in self._ready.select(timeout=1.0)}
            if self._pidfd in events or os.getppid() != self._parent:
                return False
            if listener in events:
                return True

    def close(self) -> None:
        self._ready.close()
        if self._pidfd is not None:
            os.close(self._pidfd)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _log_refusal(snapshot: str, exc: AutoceleryError) -> None:
    logger.warning("Snapshot %s was not run: %s: %s", snapshot[:12], type(exc).__name__, exc.message)


if __name__ == "__main__":
    main()
