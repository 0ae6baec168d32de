"""Hosts for whoever asks: started, handed over, and ended with the lease on them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from autocelery._hosting import unsealing
from autocelery._hosting.attaching import Attachments
from autocelery._hosting.by_environment import ZygotesByEnvironment
from autocelery._hosting.preparing import Preparer
from autocelery._hosting.terms import AgentTerms
from autocelery._hosting.tidying import Tidier
from autocelery._hosting.zygotes import HostProcess
from autocelery._signing.statement import CLOCK_SKEW
from autocelery._signing.variables import Variables
from autocelery.errors import AgentUnavailable, AutoceleryError, CodeNotImportable, HostLost
from autocelery_host import frames
from autocelery_host.order import Order

logger = logging.getLogger(__name__)

#: Seconds that a host which was given back has to end by itself.
RELEASE_SECONDS = 1.0
#: How often a host that was killed while it imported is started again: nothing of the call has run by then.
ATTEMPTS = 5
#: Seconds between two looks whether what is on lease was revoked, or its author is no longer trusted.
PERMISSION_INTERVAL = 5.0
#: Seconds within which the end of a host that closed its socket is known.
_END_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Lent:
    """A host on lease: of which snapshot, by whose signature, and to whom."""

    snapshot: str
    key: str
    host: HostProcess
    holder: socket.socket


class _Killed(Exception):
    """A host was killed before it was ready; another may do."""


class Lender:
    """Owns the preparer, the zygotes, every host that is on lease, and two threads: tidier and warden.

    Raises:
        OSError: the worker's cache folder cannot be used.
    """

    def __init__(self, terms: AgentTerms) -> None:
        self._preparer = Preparer(terms)
        self._zygotes = ZygotesByEnvironment(self._preparer.folder, terms.preload)
        self._tidier = Tidier(self._preparer)
        self._lent: dict[int, Lent] = {}
        threading.Thread(target=self._watch_permissions, name="warden", daemon=True).start()

    def lend(self, holder: socket.socket, snapshot: str, key: str, variables: str | None = None) -> None:
        """Hand a host of ``snapshot`` over to ``holder``, and end it when that connection ends.

        Args:
            holder: who asked for it.
            snapshot: its id.
            key: whose statement over it counts.
            variables: the digest of the envelope with its variables, ``None`` without any.

        Raises:
            AutoceleryError: the snapshot is refused, or cannot be run; typed, with the reason.
        """
        try:
            with self._preparer.using(snapshot):
                host, sock, expires = self._started(holder, snapshot, key, variables)
                try:
                    with sock:
                        told = {"pid": host.pid, "expires": expires}
                        frames.send(holder, json.dumps(told).encode(), (sock.fileno(),))
                    host.when_ended(lambda: _hang_up(holder))
                    _hold(holder, host)
                finally:
                    self._lent.pop(host.pid, None)
                    host.kill()
        finally:
            self._tidier.wake()

    def status(self) -> dict[str, Any]:
        """Return the pids of the zygote and of the hosts that are on lease, with their snapshots."""
        zygote = self._zygotes.own.ready()
        return {
            "zygote": zygote.pid,
            "hosts": {str(each.host.pid): each.snapshot for each in self._all()},
            "preloaded": len(zygote.loaded),
        }

    def revoke(self, snapshot: str, envelope: bytes) -> dict[str, Any]:
        """Keep a revocation, if a trusted key made it, and end the hosts of its snapshot."""
        if not self._preparer.revoke(snapshot, envelope):
            return {"revoked": False, "hosts": 0}
        return {
            "revoked": True,
            "hosts": self._end([each for each in self._all() if each.snapshot == snapshot]),
        }

    def environment(self, lock: bytes, python: str) -> dict[str, Any]:
        """Return which environment a snapshot with ``lock`` gets, and what it takes to build it."""
        return self._preparer.environment(lock, python)

    @property
    def attachments(self) -> Attachments:
        """What hosts attach, and what they open."""
        return self._preparer.attachments

    def kill(self) -> None:
        """End every host and the zygote."""
        self._end(self._all())
        self._zygotes.kill()

    def _all(self) -> list[Lent]:
        return list(self._lent.values())

    def _end(self, doomed: Collection[Lent]) -> int:
        for each in doomed:
            each.host.kill()
        return len(doomed)

    def _watch_permissions(self) -> None:
        """A warm host asks nobody before its next call: whether it still may run is looked up for it."""
        while True:
            time.sleep(PERMISSION_INTERVAL)
            for look in (self._end_untrusted, self._end_revoked):
                try:
                    look()
                except (AutoceleryError, OSError) as exc:
                    logger.debug("Whether hosts may go on could not be looked up: %s", exc)

    def _end_untrusted(self) -> None:
        lent = self._all()
        trusted = {key: self._preparer.trusts(key) for key in {each.key for each in lent}}
        self._end([each for each in lent if not trusted[each.key]])

    def _end_revoked(self) -> None:
        lent = self._all()
        revoked = self._preparer.revoked({each.snapshot for each in lent})
        self._end([each for each in lent if each.snapshot in revoked])

    def _started(
        self, holder: socket.socket, snapshot: str, key: str, variables: str | None
    ) -> tuple[HostProcess, socket.socket, int]:
        """Return a host that has imported its app, the socket it is reached by, and when its signature expires."""
        killed: Exception = _Killed()
        for _ in range(ATTEMPTS):
            # Anew each time: who killed it may have withdrawn the trust.
            order = self._preparer.order(snapshot, key, variables)
            opened = self._preparer.variables.open(order) if order.variables is not None else None
            try:
                return (*self._forked(holder, order, opened), _expiry(order, opened))
            except (_Killed, AgentUnavailable) as exc:
                killed = exc
        if isinstance(killed, AgentUnavailable):
            raise killed
        raise HostLost(
            f"The host process of snapshot {snapshot[:12]} was killed {ATTEMPTS} times while it imported the "
            "app: most likely the worker's machine or container has too little memory for it."
        )

    def _forked(
        self, holder: socket.socket, order: Order, opened: Variables | None
    ) -> tuple[HostProcess, socket.socket]:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                host, zygotes = self._zygotes.fork(order, theirs)
            # From here on, since importing is running.
            self._lent[host.pid] = Lent(order.snapshot, order.key, host, holder)
            try:
                if opened is not None:  # past the zygote, whose next hosts would inherit them
                    unsealing.hand_over(opened, ours)
                zygotes.learn(_await_ready(holder, ours, host, order.snapshot))
            except BaseException:
                self._lent.pop(host.pid, None)
                raise
        except BaseException:
            ours.close()
            raise
        return host, ours


def _expiry(order: Order, opened: Variables | None) -> int:
    """Return when a host may take no more calls, in seconds since the epoch."""
    return order.expires if opened is None else min(order.expires, opened.expires + CLOCK_SKEW)


def _await_ready(holder: socket.socket, sock: socket.socket, host: HostProcess, snapshot: str) -> list[str]:
    """Return the third-party modules that the host had to import itself, once it has imported its app."""
    try:
        told = _first_word(holder, sock, snapshot)
        if told is None:
            raise _died(host, snapshot)
    except BaseException:
        host.kill()
        raise
    if "failed" in told:
        kind = getattr(sys.modules["autocelery.errors"], told["failed"][0], AutoceleryError)
        raise kind(told["failed"][1])
    modules: list[str] = told["ready"]
    return modules


def _first_word(holder: socket.socket, sock: socket.socket, snapshot: str) -> dict[str, Any] | None:
    """Wait until the host has imported its app, for as long as somebody wants it; ``None`` where it died."""
    poll = select.poll()
    poll.register(holder, select.POLLIN)
    poll.register(sock, select.POLLIN)
    if any(fd == holder.fileno() for fd, _ in poll.poll()):
        raise ConnectionAbortedError(f"whoever asked for snapshot {snapshot[:12]} is gone")
    try:
        payload = frames.receive(sock)
    except (OSError, frames.FrameTooLarge):
        return None
    told: dict[str, Any] | None = json.loads(payload) if payload is not None else None
    return told


def _died(host: HostProcess, snapshot: str) -> Exception:
    """Return why a host that said nothing ended: killed from outside, or by the code that it imported."""
    host.ended.wait(_END_PATIENCE)
    status = host.status
    if status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
        return _Killed()
    code = os.waitstatus_to_exitcode(status)
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
    return CodeNotImportable(
        f"Importing the snapshot {snapshot[:12]} ended its process {how}: a crash in native code, or os._exit. "
        "Import the app where you call from to see it, mend it, and send the call again."
    )


def _hold(holder: socket.socket, host: HostProcess) -> None:
    """Wait for the lease's end; a host that was given back, or whose call was given up, may end by itself first."""
    payload = None
    with contextlib.suppress(OSError, frames.FrameTooLarge):
        payload = frames.receive(holder)
    if payload and json.loads(payload)["op"] == "terminate":
        host.terminate()
    if payload:
        host.ended.wait(RELEASE_SECONDS)


def _hang_up(holder: socket.socket) -> None:
    """Tell the holder that its host is gone, even where a process that a task left behind keeps its socket open."""
    with contextlib.suppress(OSError):
        holder.shutdown(socket.SHUT_RDWR)
