"""What a call prints, from its host's pipes to the outbox and to the worker's own output.

Each call that is to be heard has one connection from its host, with the
reading ends of two pipes, and one thread here. It reads what comes, always
and at once: a task that prints never waits for a store. Marked copies
(`autocelery_host.output`) are for the caller only, as Python has written the
same to the worker's log; the rest is for both.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Iterator
from typing import Any

from autocelery._blobs.output import Piece, Stream
from autocelery._hosting.outbox import Outbox, Outgoing
from autocelery_host import frames
from autocelery_host.output import HEAD, LOG, MARK_BYTES, STDOUT

#: Bytes read at once: what a pipe holds.
_AT_ONCE = 65_536


def relay(connection: socket.socket, question: dict[str, Any], pipes: list[int], outbox: Outbox) -> None:
    """Pass on what comes through ``pipes`` until the last process that holds their other ends is gone.

    Args:
        connection: of the host; it says there that the call has ended, or is gone.
        question: ``{"call": id, "channel": ..., "mark": hex}``.
        pipes: the reading ends of standard output and standard error; they are closed here.
        outbox: where it goes.
    """
    call = outbox.opened(question["call"], question["channel"])
    mark = bytes.fromhex(question["mark"])
    taps = [Tap(pipe, number, mark, call) for pipe, number in zip(pipes, (1, 2), strict=True)]
    with selectors.DefaultSelector() as ready:
        ready.register(connection, selectors.EVENT_READ)
        for tap in taps:
            ready.register(tap.pipe, selectors.EVENT_READ, tap)
        try:
            while ready.get_map():
                events = {key.fileobj: key.data for key, _ in ready.select()}
                for pipe, tap in events.items():
                    if tap is not None and not tap.feed():
                        ready.unregister(pipe)
                if connection in events:
                    ready.unregister(connection)
                    _end(connection, taps, call)
        finally:
            for tap in taps:
                os.close(tap.pipe)


def _end(connection: socket.socket, taps: list[Tap], call: Outgoing) -> None:
    """Note the end of the call; what its pipes hold now is the last of it."""
    final = False  # a host that died: the call may run again, and its result tells if it does not
    with contextlib.suppress(OSError, frames.FrameTooLarge, ValueError):
        payload = frames.receive(connection)
        final = bool(payload and json.loads(payload)["final"])
    for tap in taps:
        while tap.has_more() and tap.feed():
            pass
        tap.is_heard = False
    call.end(final)


class Tap:
    """One of a call's two pipes: its bytes, taken apart into marked copies and the rest.

    Args:
        pipe: the reading end.
        number: the descriptor that it stands in for: 1 or 2.
        mark: what precedes each marked copy.
        call: where the pieces go.
    """

    def __init__(self, pipe: int, number: int, mark: bytes, call: Outgoing) -> None:
        self.pipe = pipe
        #: Whether the call still runs: what comes later is for the log only.
        self.is_heard = True
        self._number = number
        self._mark = mark
        self._call = call
        self._rest = b""
        self._record = b""
        os.set_inheritable(pipe, False)
        os.set_blocking(pipe, False)

    def has_more(self) -> bool:
        """Whether something can be read at once."""
        with selectors.DefaultSelector() as ready:
            ready.register(self.pipe, selectors.EVENT_READ)
            return bool(ready.select(0))

    def feed(self) -> bool:
        """Take what is there; false at the end."""
        try:
            read = os.read(self.pipe, _AT_ONCE)
        except BlockingIOError:
            return True
        for kind, content, more in self._taken_apart(read):
            if kind is None:
                _write_all(self._number, content)
                self._hear(Piece("stdout" if self._number == 1 else "stderr", content))
            elif kind == LOG:
                self._add_record(content, more)
            else:
                self._hear(Piece(_stream(kind), content))
        return bool(read)

    def _hear(self, piece: Piece) -> None:
        if self.is_heard:
            self._call.add(piece)

    def _add_record(self, content: bytes, more: bool) -> None:
        self._record += content
        if not more:
            level, _, rest = self._record.partition(b"\0")
            name, _, text = rest.partition(b"\0")
            self._record = b""
            self._hear(Piece("log", text, level.decode(), name.decode(errors="replace")))

    def _taken_apart(self, read: bytes) -> Iterator[tuple[bytes | None, bytes, bool]]:
        """Yield ``(stream, content, more follows)`` of marked copies, with ``None`` for the rest."""
        data, self._rest = self._rest + read, b""
        start = 0
        while (found := data.find(self._mark, start)) >= 0:
            if found > start:
                yield None, data[start:found], False
            body = found + MARK_BYTES + HEAD.size
            if len(data) < body:
                break
            kind, more, length = HEAD.unpack_from(data, found + MARK_BYTES)
            if len(data) < body + length:
                break
            yield kind, data[body : body + length], more
            start = body + length
        else:
            found = len(data) - self._begun(data)
            if found > start:
                yield None, data[start:found], False
        if read:
            self._rest = data[max(found, start) :]
        elif data[max(found, start) :]:
            yield None, data[max(found, start) :], False

    def _begun(self, data: bytes) -> int:
        """Return how many bytes at the end of ``data`` may be the beginning of a mark."""
        return next((n for n in range(MARK_BYTES - 1, 0, -1) if data.endswith(self._mark[:n])), 0)


def _stream(kind: bytes) -> Stream:
    return "stdout" if kind == STDOUT else "stderr"


def _write_all(number: int, content: bytes) -> None:
    """Write to the worker's own output, which this process shares; one that is closed is no error."""
    with contextlib.suppress(OSError):
        while content:
            content = content[os.write(number, content) :]
