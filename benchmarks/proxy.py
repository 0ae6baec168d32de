"""A TCP proxy on loopback that counts what goes through it, in front of Redis."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit


class Counts(NamedTuple):
    """Bytes from the client, and bytes to it."""

    sent: int
    received: int


class CountingProxy:
    """Forwards every connection to the server of ``url``; ``with`` starts it and ends it.

    Owns its listening socket, and a daemon thread for each direction of each
    connection, which ends with that connection.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._target = (self._parts.hostname or "localhost", self._parts.port or 6379)
        self._lock = threading.Lock()
        self._bytes = {"sent": 0, "received": 0}
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def url(self) -> str:
        """What a client connects to instead."""
        user, at, _ = self._parts.netloc.rpartition("@")
        netloc = f"{user}{at}127.0.0.1:{self._listener.getsockname()[1]}"
        return self._parts._replace(netloc=netloc).geturl()

    def counts(self) -> Counts:
        """Return what was counted until now."""
        with self._lock:
            return Counts(self._bytes["sent"], self._bytes["received"])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(client, server, "sent"), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, "received"), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        with suppress(OSError):  # either end hung up
            while chunk := source.recv(65_536):
                with self._lock:
                    self._bytes[direction] += len(chunk)
                target.sendall(chunk)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
