"""What a task prints and logs, caught for a caller who asked for it; the worker's log has it as ever.

For one call, file descriptors 1 and 2 are pipes that the agent reads. What
Python prints and logs goes where it always goes, and a marked copy into the
pipe: the agent sends the marked copies and the rest to the caller, and the
rest, which subprocesses and C code wrote, to the worker's own output too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import secrets
import select
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

from autocelery_host import frames

logger = logging.getLogger(__name__)

#: Before a marked copy, after the call's own mark: the stream, whether more of it follows, its length.
HEAD: Final = struct.Struct("!c?H")
MARK_BYTES: Final = 16
STDOUT, STDERR, LOG = b"o", b"e", b"l"
#: What a pipe takes in one piece, so that it never mixes with what others write.
_MOST: Final = select.PIPE_BUF - MARK_BYTES - HEAD.size
#: Seconds to wait for an agent that takes the pipes; it answers hosts at once, or is gone.
_PATIENCE: Final = 2.0
#: setvbuf(3): a line at a time, as on a terminal.
_IOLBF: Final = 1


def keep_log_apart() -> None:
    """Give Python's standard streams descriptors of their own; 1 and 2 are then what subprocesses and C code use.

    For a zygote, before it imports anything: log handlers hold on to the streams that they find.
    """
    for name in ("stdout", "stderr"):
        before = getattr(sys, name)
        if before is not None:
            before.flush()
            kept = open(  # noqa: SIM115 - it lives as long as the process
                os.dup(before.fileno()),
                "w",
                buffering=1,
                encoding=before.encoding,
                errors=before.errors,
            )
            setattr(sys, name, kept)
            setattr(sys, f"__{name}__", kept)


class Ending:
    """How the call ended; to be said before `captured` is left. ``final`` is false where it will run again."""

    final = True


@contextlib.contextmanager
def captured(agent: str, task_id: str, channel: str | None) -> Iterator[Ending]:
    """Send what is printed and logged in this block to ``channel``; without one, or without an agent, do nothing.

    Args:
        agent: the path of its socket.
        task_id: of the call that prints.
        channel: what the caller listens to.
    """
    ending = Ending()
    with contextlib.ExitStack() as undo:
        if isinstance(channel, str) and channel.isalnum():
            try:
                _capture(undo, ending, agent, {"op": "output", "call": task_id, "channel": channel})
            except OSError as exc:
                undo.close()
                logger.info("The output of %s is not sent to its caller: %s", task_id, exc)
        yield ending


def _capture(undo: contextlib.ExitStack, ending: Ending, agent: str, question: dict[str, Any]) -> None:
    mark = new_mark()
    connection = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    connection.settimeout(_PATIENCE)
    connection.connect(agent)
    undo.callback(_say_end, connection, ending)
    readers, writers = zip(os.pipe(), os.pipe(), strict=True)
    out, err = (undo.enter_context(os.fdopen(fd, "wb", buffering=0)) for fd in writers)
    try:
        frames.send(connection, json.dumps({**question, "mark": mark.hex()}).encode(), readers)
    finally:
        for fd in readers:
            os.close(fd)
    strangers = frozenset(threading.enumerate()) - {threading.current_thread()}
    to_out, to_err = _Copies(out, mark, strangers), _Copies(err, mark, strangers)
    _flush_c_streams()
    for name, number, pipe in (("stdout", 1, out), ("stderr", 2, err)):
        undo.callback(_restore, os.dup(number), number)
        os.dup2(pipe.fileno(), number)
        tee = Tee(getattr(sys, name), to_out if number == 1 else to_err, STDOUT if number == 1 else STDERR)
        undo.callback(_put_back, name, tee, getattr(sys, name))
        setattr(sys, name, tee)
    records = _Records(to_err)
    for each in (logging.getLogger(), logging.getLogger("celery.task")):
        each.addHandler(records)
        undo.callback(each.removeHandler, records)


def new_mark() -> bytes:
    """Return a mark for one call. It begins with a byte that UTF-8 never has: text seems to begin none."""
    return b"\xff" + secrets.token_bytes(MARK_BYTES - 1)


def _say_end(connection: socket.socket, ending: Ending) -> None:
    with contextlib.suppress(OSError):  # the agent is gone, and this host with it
        frames.send(connection, json.dumps({"final": ending.final}).encode())


def _restore(saved: int, number: int) -> None:
    _flush_c_streams()
    os.dup2(saved, number)
    os.close(saved)


def _put_back(name: str, tee: Tee, kept: Any) -> None:
    with contextlib.suppress(Exception):  # a task may have closed it
        tee.flush()
    if getattr(sys, name) is tee:
        setattr(sys, name, kept)


def _flush_c_streams() -> None:
    """Write what C's own streams hold back; they hold back much where they write to a pipe."""
    libc = ctypes.CDLL(None)
    libc.fflush(None)
    with contextlib.suppress(ValueError):  # another name on another platform
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _IOLBF, 0)


class _Copies:
    """Writes marked copies into a pipe, for as long as the pipe is open, but none of what ``strangers`` write."""

    def __init__(self, pipe: Any, mark: bytes, strangers: frozenset[threading.Thread]) -> None:
        self._pipe = pipe
        self._mark = mark
        self._strangers = strangers

    def write(self, stream: bytes, content: bytes) -> None:
        """Write a copy; it is in nobody's way, whatever becomes of it."""
        if threading.current_thread() in self._strangers:
            return
        with contextlib.suppress(OSError, ValueError):  # the call has ended, and its pipe is closed
            for start in range(0, len(content), _MOST):
                part = content[start : start + _MOST]
                self._pipe.write(
                    self._mark + HEAD.pack(stream, start + _MOST < len(content), len(part)) + part
                )


class Tee:
    """In place of a standard stream: what it was, and a copy of all that is written."""

    def __init__(self, kept: Any, copies: _Copies, stream: bytes) -> None:
        self._kept = kept
        self._copies = copies
        self._stream = stream

    def write(self, text: Any) -> Any:
        """Write to both."""
        written = self._kept.write(text)
        if text:
            content = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else bytes(text)
            self._copies.write(self._stream, content)
        return written

    def writelines(self, lines: Any) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def fileno(self) -> int:
        """Return the descriptor that a subprocess writes to, where the stream has one at all."""
        self._kept.fileno()
        return 1 if self._stream == STDOUT else 2

    @property
    def buffer(self) -> Tee:
        """The stream of bytes, where it has one."""
        return Tee(self._kept.buffer, self._copies, self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def __iter__(self) -> Any:
        return iter(self._kept)

    def __enter__(self) -> Tee:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Records(logging.Handler):
    """Copies what the task and the libraries that it uses log; Celery's own words about the call it leaves out."""

    def __init__(self, copies: _Copies) -> None:
        super().__init__()
        self._copies = copies
        self._latest: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Copy ``record``, once, though its logger may hand it to two of the loggers that this handles."""
        if record.name.startswith("celery.") or record is self._latest:
            return
        self._latest = record
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        content = f"{record.levelname[:16]}\0{record.name[:128]}\0{text}\n"
        self._copies.write(LOG, content.encode("utf-8", "backslashreplace"))
