"""A call's output on its way through a blob store: a ring of chunks, one entry for the end, one for the listener.

The ring has `SLOTS` entries, so a call's output never takes more than some
megabyte there. A chunk says its number, and at which byte of all output it
begins: a reader knows what it has missed. A call may run more than once, after
a retry for one: ``run`` tells the runs apart, and grows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

SLOTS = 16
#: How many bytes of output one chunk holds.
CHUNK_BYTES = 65_536
#: Nothing of that kind is larger: pieces of one byte each have a header of ten.
_LARGEST = 32 * CHUNK_BYTES
_VERSION = 1

Stream = Literal["stdout", "stderr", "log"]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of one stream; of a log record also its level and its logger's name."""

    stream: Stream
    content: bytes
    level: str = ""
    logger: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Pieces in order. ``at`` counts the bytes of the run before them, those that were dropped too."""

    run: int
    number: int
    at: int
    pieces: tuple[Piece, ...]

    def encode(self) -> bytes:
        """Return it as it lies in the store: a line of JSON, then the pieces' bytes."""
        pieces = [[each.stream, len(each.content), each.level, each.logger] for each in self.pieces]
        head = {"v": _VERSION, "run": self.run, "number": self.number, "at": self.at, "pieces": pieces}
        return json.dumps(head).encode() + b"\n" + b"".join(each.content for each in self.pieces)


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: after ``number`` chunks and ``at`` bytes; ``final`` unless the call is to run again."""

    run: int
    number: int
    at: int
    final: bool

    def encode(self) -> bytes:
        """Return it as it lies in the store."""
        told = {"run": self.run, "number": self.number, "at": self.at, "final": self.final}
        return json.dumps({"v": _VERSION, **told}).encode()


def decode_chunk(content: bytes) -> Chunk | None:
    """Return the chunk in ``content``, ``None`` if it is none: anybody may write to the store."""
    head, _, body = content.partition(b"\n")
    try:
        told = _told(head, content)
        pieces = tuple(_pieces(told["pieces"], body))
        return Chunk(int(told["run"]), int(told["number"]), int(told["at"]), pieces)
    except (ValueError, KeyError, TypeError):
        return None


def decode_end(content: bytes) -> End | None:
    """Return the end in ``content``, ``None`` if it is none."""
    try:
        told = _told(content, content)
        return End(int(told["run"]), int(told["number"]), int(told["at"]), bool(told["final"]))
    except (ValueError, KeyError, TypeError):
        return None


def _told(head: bytes, content: bytes) -> Any:
    if len(content) > _LARGEST:
        raise ValueError("too large to be ours")
    told = json.loads(head)
    if told["v"] != _VERSION:
        raise ValueError("of another version")
    return told


def _pieces(told: Iterable[Any], body: bytes) -> Iterable[Piece]:
    start = 0
    for stream, length, level, logger in told:
        if stream not in ("stdout", "stderr", "log"):
            raise ValueError(stream)
        yield Piece(stream, body[start : start + int(length)], str(level), str(logger))
        start += int(length)


def slot(task_id: str, number: int) -> str:
    """Return the name of the entry of a call's chunk; `SLOTS` chunks later another one has it."""
    return f"{_key(task_id)}.{number % SLOTS}.out"


def end(task_id: str) -> str:
    """Return the name of the entry with a call's `End`."""
    return f"{_key(task_id)}.end.out"


def everything(task_id: str) -> list[str]:
    """Return the names of all entries that a call's output may have."""
    return [*(slot(task_id, number) for number in range(SLOTS)), end(task_id)]


def hear(channel: str) -> str:
    """Return the name of the entry that a listener changes every few seconds, as long as it lives."""
    return f"{channel}.hear"


def _key(task_id: str) -> str:
    """A task's id may be any text, the name of a blob may not."""
    return hashlib.sha256(task_id.encode()).hexdigest()[:40]
