"""The worker's end: hosts on lease, one call at a time on each.

A ``HostPool`` lives in every process that runs tasks (a prefork child, or
the worker itself with threads). A call checks a host out, talks to it
directly, and checks it in again; the agent is asked only where no warm host
of that snapshot is at hand. A lease is the connection to the agent: when it
closes, because it was given back or because this process died, the agent ends
the host and its process group.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import time
from collections import OrderedDict
from typing import Any, Literal

import autocelery.errors
from autocelery._hosting.groups import end_group
from autocelery.errors import AgentUnavailable, AutoceleryError, HostLost
from autocelery_host import frames

#: How long an agent that is not there, since it died and is being replaced, is waited for, in seconds.
AGENT_PATIENCE = 20.0
#: How many agents are asked, one after the other, before a call is given up.
AGENT_ATTEMPTS = 5
#: Seconds within which the answer of a host that has ended is read.
LAST_WORDS = 1.0


class Lease:
    """One host of one snapshot, for one caller at a time. Owns two sockets: to the agent, and to the host.

    Args:
        snapshot: its id.
        sealed: whose variables it has, as ``(key, digest of their envelope)``; ``None`` without any.
        pid: the host's.
        expires: when the snapshot's signature does, in seconds since the epoch.
        agent: the connection whose end is the end of the lease.
        host: where calls go.
    """

    def __init__(
        self,
        snapshot: str,
        sealed: tuple[str, str] | None,
        pid: int,
        expires: int,
        agent: socket.socket,
        host: socket.socket,
    ) -> None:
        self.snapshot = snapshot
        self.sealed = sealed
        self.pid = pid
        self.spent = False
        self._expires = expires
        self._agent = agent
        self._host = host
        self._has_served = False
        self._poll = select.poll()
        for each in (agent, host):
            self._poll.register(each, select.POLLIN)

    def fresh(self) -> bool:
        """Whether the host still waits for calls; one that said goodbye, died or may no longer run does not."""
        return not (self.spent or self._poll.poll(0) or time.time() > self._expires)

    def call(self, payload: bytes) -> dict[str, Any] | None:
        """Run one call and return its outcome; ``None`` where the host had ended before it began.

        Raises:
            HostLost: the host died before it answered.
        """
        try:
            frames.send(self._host, payload)
            answer = self._answer()
        except OSError:
            self.spent = True
            if self._has_served:
                return None  # a call that was not taken whole was not begun
            raise self._lost() from None  # no other host of this snapshot would live longer
        if answer is None:
            self.spent = True
            raise self._lost()
        self._has_served = True
        outcome: dict[str, Any] = json.loads(answer)
        self.spent = bool(outcome.get("last") or outcome.get("bye"))
        return None if outcome.get("bye") else outcome

    def _answer(self) -> bytes | None:
        """Return the host's answer, ``None`` once host or agent is gone.

        The agent hangs up when the host ends. That tells also where a process
        which a task left behind keeps the host's socket open.

        Raises:
            ConnectionResetError: the host ended with the call unread. Linux says so of a Unix socket whose
                other end was closed before its bytes were taken (`unix_release_sock` in net/unix/af_unix.c).
        """
        try:
            if not any(fd == self._host.fileno() for fd, _ in self._poll.poll()):
                self._host.settimeout(LAST_WORDS)
            return frames.receive(self._host)
        except ConnectionResetError:
            raise
        except (OSError, frames.FrameTooLarge):
            return None

    def _lost(self) -> HostLost:
        end_group(self.pid)  # should the agent have died with it, what the task started is left
        return HostLost(
            f"The host process {self.pid} that ran this call of snapshot {self.snapshot[:12]} died before it "
            "answered: killed, out of memory, or a crash in native code. The worker's log may tell which."
        )

    def close(self, op: Literal["release", "terminate"] = "release") -> None:
        """Give the host back, to be ended: idle, or with SIGTERM in the middle of its call."""
        with contextlib.suppress(OSError):
            frames.send(self._agent, json.dumps({"op": op}).encode())
        self._host.close()
        self._agent.close()


class HostPool:
    """The warm hosts of this process, least recently used first. Safe for threads, and after a fork."""

    def __init__(self, address: str, warm: int) -> None:
        self._address = address
        self._warm = warm
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._idle: OrderedDict[int, Lease] = OrderedDict()

    def checkout(self, snapshot: str, key: str, variables: str | None = None) -> Lease:
        """Return a lease on a host of ``snapshot``, a warm one where there is one.

        A host has the variables of one envelope, or none, from its start to its end.

        Args:
            snapshot: its id.
            key: whose statement over it counts.
            variables: the digest of the envelope with its variables, ``None`` without any.

        Raises:
            AutoceleryError: the agent refuses the snapshot, or cannot run it; typed, with the reason.
        """
        self._forget_after_fork()
        sealed = None if variables is None else (key, variables)
        while (lease := self._take(snapshot, sealed)) is not None:
            if lease.fresh():
                return lease
            lease.close()
        return self._lease(snapshot, key, sealed)

    def checkin(self, lease: Lease) -> None:
        """Keep ``lease`` warm for the next call, and give back the one unused for longest where there are too many."""
        with self._lock:
            if not lease.spent:
                self._idle[id(lease)] = lease
            surplus = [self._idle.popitem(last=False)[1] for _ in range(len(self._idle) - self._warm)]
        if lease.spent:
            lease.close()
        for each in surplus:
            each.close()

    def discard(self, lease: Lease) -> None:
        """End the host of ``lease``: its call was given up. The task may clean up for a second."""
        lease.close("terminate")

    def close(self) -> None:
        """Give every idle host back."""
        with self._lock:
            idle, self._idle = list(self._idle.values()), OrderedDict()
        for each in idle:
            each.close()

    def _take(self, snapshot: str, sealed: tuple[str, str] | None) -> Lease | None:
        with self._lock:
            for number, lease in reversed(self._idle.items()):
                if lease.snapshot == snapshot and lease.sealed == sealed:
                    del self._idle[number]
                    return lease
        return None

    def _forget_after_fork(self) -> None:
        if self._owner != os.getpid():
            self._owner, self._idle, self._lock = os.getpid(), OrderedDict(), threading.Lock()

    def _lease(self, snapshot: str, key: str, sealed: tuple[str, str] | None) -> Lease:
        """Ask the agent, and the next one where it dies meanwhile: nothing of the call has run by then."""
        for attempt in range(AGENT_ATTEMPTS):
            with contextlib.ExitStack() as undo:
                agent = undo.enter_context(connect(self._address))
                try:
                    lease = _agreed(agent, snapshot, key, sealed)
                except _AgentDied as exc:
                    if attempt + 1 == AGENT_ATTEMPTS:
                        raise _agent_gone(str(exc)) from exc
                    continue
                undo.pop_all()
                return lease
        raise _agent_gone("it died")


class _AgentDied(Exception):
    """The agent ended before it answered."""


def _agreed(agent: socket.socket, snapshot: str, key: str, sealed: tuple[str, str] | None) -> Lease:
    question = {"op": "lease", "snapshot": snapshot, "key": key, "variables": sealed[1] if sealed else None}
    try:
        agent.settimeout(AGENT_PATIENCE)
        frames.send(agent, json.dumps(question).encode())
        if frames.receive(agent) is None:
            raise _AgentDied("it ended before it accepted")
        agent.settimeout(None)  # the task's own time limit holds while its code is fetched and imported
        payload, fds = frames.receive_with_fds(agent)
    except TimeoutError:
        raise _agent_gone(f"not within {AGENT_PATIENCE:.0f} s") from None
    except OSError as exc:
        raise _AgentDied(str(exc)) from exc
    if payload is None:
        raise _AgentDied("it ended before it answered")
    answer: dict[str, Any] = json.loads(payload)
    if "error" in answer:
        raise _error(answer["error"])
    host = socket.socket(fileno=fds[0])
    host.set_inheritable(False)  # nothing that this process starts may keep the host's socket open
    return Lease(snapshot, sealed, answer["pid"], answer["expires"], agent, host)


def connect(address: str) -> socket.socket:
    """Return a connection to the agent that listens at ``address``.

    Raises:
        AgentUnavailable: nothing listens there.
    """
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        agent.connect(address)
    except OSError as exc:
        agent.close()
        raise _agent_gone(str(exc)) from exc
    return agent


def ask(address: str, question: dict[str, Any], patience: float = AGENT_PATIENCE) -> dict[str, Any]:
    """Ask the agent something that is answered with one frame of JSON.

    Args:
        address: the path of the agent's socket.
        question: ``{"op": ...}``.
        patience: seconds to wait.

    Raises:
        AgentUnavailable: no answer in time.
    """
    agent = connect(address)
    with agent:
        agent.settimeout(patience)
        try:
            frames.send(agent, json.dumps(question).encode())
            answer = frames.receive(agent)
        except OSError as exc:
            raise _agent_gone(str(exc)) from exc
    if answer is None:
        raise _agent_gone("it closed the connection")
    told: dict[str, Any] = json.loads(answer)
    return told


def _error(told: list[str]) -> AutoceleryError:
    kind: type[AutoceleryError] = getattr(autocelery.errors, told[0], AutoceleryError)
    return kind(told[1])


def _agent_gone(reason: str) -> AgentUnavailable:
    return AgentUnavailable(
        f"The agent beside this worker does not answer ({reason}). It is started again by the worker; send the "
        "call again. If it keeps dying, the worker's log says why."
    )
