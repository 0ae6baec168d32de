"""The agent: the one process per worker that owns its snapshot cache, zygotes and hosts.

It listens on a private Unix socket that the worker made and inherited to it.
Each connection is a lease, or a question, in frames of JSON. ``{"op":
"lease", "snapshot": …, "key": …, "variables": …}`` is answered with ``{"accepted": true}`` at
once, then with ``{"pid": n, "expires": seconds}`` and the host's socket
beside it, or with ``{"error": [class, message]}``. ``{"op": "status"}`` and
``{"op": "revoke", "snapshot": …, "envelope": hex}`` are answered once, and so is
``{"op": "environment", "lock": …, "python": …}``: with ``pending`` while the index
is asked. So are a host's own: ``{"op": "keep", …}`` with an open file beside it, by a signed
reference, and ``{"op": "open", "reference": …}`` by an open file. With
``{"op": "output", "call": …, "channel": …, "mark": hex}`` a host hands over
two pipes, and says ``{"final": …}`` when the call has ended. A
lease lasts as long as its connection: whoever holds it may die in any way,
and the host's process group is killed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import logging
import os
import pickle
import selectors
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from autocelery._blobs import BlobStore, open_store
from autocelery._hosting import relaying
from autocelery._hosting.lending import Lender
from autocelery._hosting.outbox import Outbox
from autocelery._hosting.terms import STOP_SIGNAL, AgentTerms
from autocelery.errors import AgentUnavailable, AttachmentError, AutoceleryError, DiskFull
from autocelery_host import frames

logger = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> None:
    """Run the agent whose listening socket is file descriptor ``argv[1]`` and whose terms are on standard input."""
    terms: AgentTerms = pickle.load(sys.stdin.buffer)
    logging.basicConfig(
        format="[%(asctime)s: %(levelname)s/autocelery-agent] %(message)s", level=logging.INFO
    )
    # A supervisor sends SIGTERM to the whole group: the worker drains then, and needs its hosts until it is done.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(STOP_SIGNAL, lambda *_: sys.exit(0))
    listener = socket.socket(fileno=int(sys.argv[1]))
    Agent(terms, listener).serve()


class Agent:
    """Answers the worker's processes. Owns the lender, and a thread per connection."""

    def __init__(self, terms: AgentTerms, listener: socket.socket) -> None:
        self._terms = terms
        self._listener = listener
        self._lender: Lender | None = None
        self._lock = threading.Lock()
        self._outbox = Outbox(self._store)

    def serve(self) -> None:
        """Accept connections until the worker is gone; then nothing is left behind."""
        try:
            with contextlib.suppress(AutoceleryError):  # each call is told what is wrong
                self._opened()
            with contextlib.closing(_ParentWatch(self._terms.parent)) as parent:
                while parent.alive_until(self._listener):
                    connection, _ = self._listener.accept()
                    threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
            shutil.rmtree(self._terms.folder, ignore_errors=True)  # a worker that lives does that itself
        finally:
            if self._lender is not None:
                self._lender.kill()

    def _opened(self) -> Lender:
        """Return the lender, made at the first moment at which its folder can be used.

        Raises:
            DiskFull: there is no room.
            AgentUnavailable: the folder cannot be used.
        """
        with self._lock:
            if self._lender is None:
                try:
                    self._lender = Lender(self._terms)
                except OSError as exc:
                    logger.error("The agent cannot use %s: %s", self._terms.home_worker, exc)
                    raise self._typed(exc) from exc
            return self._lender

    @functools.cache  # noqa: B019 - there is one agent, as long as its process
    def _store(self) -> BlobStore | None:
        return open_store(self._terms.store) if self._terms.store else None

    def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, frames.FrameTooLarge):
            payload, fds = frames.receive_with_fds(connection)
            if payload is None:
                return
            question = json.loads(payload)
            if question["op"] == "output":
                relaying.relay(connection, question, fds, self._outbox)
            elif question["op"] == "lease":
                frames.send(connection, b'{"accepted": true}')
                self._lend(connection, question["snapshot"], question["key"], question["variables"])
            elif question["op"] == "keep":
                with os.fdopen(fds[0], "rb") as file:
                    self._attach(connection, lambda lender: _kept(lender, question, file))
            elif question["op"] == "open":
                self._attach(connection, lambda lender: _open(lender, question, connection))
            else:
                frames.send(connection, json.dumps(self._answer(question)).encode())

    def _lend(self, connection: socket.socket, snapshot: str, key: str, variables: str | None) -> None:
        try:
            self._opened().lend(connection, snapshot, key, variables)
        except AutoceleryError as exc:
            logger.warning("Snapshot %s was not run: %s: %s", snapshot[:12], type(exc).__name__, exc.message)
            refusal = exc
        except ConnectionError:
            return  # whoever asked is gone
        except OSError as exc:
            logger.error("Snapshot %s could not be prepared: %s", snapshot[:12], exc)
            refusal = self._typed(exc)
        except Exception as exc:
            logger.exception("Snapshot %s: the agent failed", snapshot[:12])
            reason = f"{type(exc).__name__}: {exc}"
            refusal = AgentUnavailable(f"The agent could not prepare snapshot {snapshot[:12]}: {reason}")
        else:
            return
        told = {"error": [type(refusal).__name__, refusal.message]}
        frames.send(connection, json.dumps(told).encode())

    def _attach(self, connection: socket.socket, do: Callable[[Lender], dict[str, Any] | None]) -> None:
        """Answer a host's question about an attachment; what has been answered already gives ``None``."""
        try:
            answer = do(self._opened())
        except AutoceleryError as exc:
            if isinstance(exc, AttachmentError):
                logger.warning("An attachment was refused: %s: %s", type(exc).__name__, exc.message)
            answer = {"error": [type(exc).__name__, exc.message]}
        except OSError as exc:
            answer = {"error": [type(self._typed(exc)).__name__, self._typed(exc).message]}
        if answer is not None:
            frames.send(connection, json.dumps(answer).encode())

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            if question["op"] == "revoke":
                return self._opened().revoke(question["snapshot"], bytes.fromhex(question["envelope"]))
            if question["op"] == "environment":
                return self._opened().environment(question["lock"].encode(), question["python"])
            return {"pid": os.getpid(), **self._opened().status()}
        except (AutoceleryError, OSError, ValueError) as exc:
            return {"error": str(exc)}

    def _typed(self, exc: OSError) -> AutoceleryError:
        if exc.errno in _NO_ROOM:
            return DiskFull(
                f"The disk of {self._terms.home_worker} has no room: {exc.strerror}. Free some, set "
                "AUTOCELERY_CACHE_MAX lower, or move it with AUTOCELERY_HOME."
            )
        return AgentUnavailable(
            f"The worker cannot use its cache {self._terms.home_worker}: {exc}. Give its user the right to write "
            "there, or move it with AUTOCELERY_HOME."
        )


def _kept(lender: Lender, question: dict[str, Any], file: IO[bytes]) -> dict[str, Any]:
    return {"reference": lender.attachments.keep(question, file)}


def _open(lender: Lender, question: dict[str, Any], connection: socket.socket) -> None:
    with lender.attachments.open(question) as file:
        frames.send(connection, b"{}", (file.fileno(),))


class _ParentWatch:
    """Tells whether the worker still lives: by a pidfd on Linux, by asking now and then elsewhere."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._ready = selectors.DefaultSelector()
        self._pidfd: int | None = None
        with contextlib.suppress(AttributeError, ProcessLookupError):  # not on Linux; gone already
            self._pidfd = os.pidfd_open(parent)
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
        """Let go of the pidfd."""
        self._ready.close()
        if self._pidfd is not None:
            os.close(self._pidfd)


if __name__ == "__main__":
    main()
