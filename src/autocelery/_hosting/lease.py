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
from collections import OrderedDict
from typing import Any

import autocelery.errors
from autocelery.errors import AgentUnavailable, AutoceleryError, HostLost
from autocelery_host import frames

#: How long an agent that is not there, since it died and is being replaced, is waited for, in seconds.
AGENT_PATIENCE = 20.0


class Lease:
    """One host of one snapshot, for one caller at a time. Owns two sockets: to the agent, and to the host."""

    def __init__(self, snapshot: str, pid: int, agent: socket.socket, host: socket.socket) -> None:
        self.snapshot = snapshot
        self.pid = pid
        self._agent = agent
        self._host = host
        self.spent = False

    def fresh(self) -> bool:
        """Whether the host still waits for calls; one that said goodbye or died does not."""
        if self.spent:
            return False
        poll = select.poll()
        poll.register(self._host, select.POLLIN)
        return not poll.poll(0)

    def call(self, payload: bytes) -> dict[str, Any] | None:
        """Run one call and return its outcome; ``None`` where the host had ended before it began.

        Raises:
            HostLost: the host died before it answered.
        """
        try:
            frames.send(self._host, payload)
        except OSError:
            self.spent = True  # a whole call that was not sent was not begun
            return None
        answer = self._answer()
        if answer is None:
            self.spent = True
            raise HostLost(
                f"The host process {self.pid} that ran this call of snapshot {self.snapshot[:12]} died before it "
                "answered: killed, out of memory, or a crash in native code. The worker's log may tell which."
            )
        outcome: dict[str, Any] = json.loads(answer)
        self.spent = bool(outcome.get("last") or outcome.get("bye"))
        return None if outcome.get("bye") else outcome

    def _answer(self) -> bytes | None:
        try:
            return frames.receive(self._host)
        except (OSError, frames.FrameTooLarge):
            return None

    def close(self, release: bool = True) -> None:
        """Give the host back, to be ended; ``release=False`` where it must die at once."""
        with contextlib.suppress(OSError):
            if release:
                frames.send(self._agent, b'{"op": "release"}')
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

    def checkout(self, snapshot: str, key: str) -> Lease:
        """Return a lease on a host of ``snapshot``, a warm one where there is one.

        Raises:
            AutoceleryError: the agent refuses the snapshot, or cannot run it; typed, with the reason.
        """
        self._forget_after_fork()
        while (lease := self._take(snapshot)) is not None:
            if lease.fresh():
                return lease
            lease.close()
        return self._lease(snapshot, key)

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
        """End the host of ``lease`` at once: its call was given up."""
        lease.close(release=False)

    def close(self) -> None:
        """Give every idle host back."""
        with self._lock:
            idle, self._idle = list(self._idle.values()), OrderedDict()
        for each in idle:
            each.close()

    def _take(self, snapshot: str) -> Lease | None:
        with self._lock:
            for number, lease in reversed(self._idle.items()):
                if lease.snapshot == snapshot:
                    del self._idle[number]
                    return lease
        return None

    def _forget_after_fork(self) -> None:
        if self._owner != os.getpid():
            self._owner, self._idle, self._lock = os.getpid(), OrderedDict(), threading.Lock()

    def _lease(self, snapshot: str, key: str) -> Lease:
        agent = connect(self._address)
        try:
            frames.send(agent, json.dumps({"op": "lease", "snapshot": snapshot, "key": key}).encode())
            payload, fds = frames.receive_with_fds(agent)
        except OSError as exc:
            agent.close()
            raise _agent_gone(f"{exc}") from exc
        except BaseException:
            agent.close()
            raise
        answer: dict[str, Any] = json.loads(payload) if payload else {}
        if not fds:
            agent.close()
            raise _error(answer["error"]) if "error" in answer else _agent_gone("it closed the connection")
        return Lease(snapshot, answer["pid"], agent, socket.socket(fileno=fds[0]))


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
