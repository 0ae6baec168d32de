"""A call's output, read from its ring in the blob store and put together."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

from autocelery._blobs import BlobStore, output
from autocelery._blobs.output import Chunk, End, Piece

#: How many chunks ahead are looked for at once.
_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Output:
    """What a call printed or logged, as it came: a line, a part of one, or several.

    Args:
        task_id: the call's.
        stream: ``stdout``, ``stderr``, ``log``, or ``note`` where something is missing.
        text: with the ends of its lines.
        level: of a log record: ``WARNING``.
        logger: the name of its logger.
    """

    task_id: str
    stream: Literal["stdout", "stderr", "log", "note"]
    text: str
    level: str = ""
    logger: str = ""

    def __str__(self) -> str:
        """The text as it is shown: a log record after its level and its logger's name."""
        return f"{self.level} {self.logger}: {self.text}" if self.stream == "log" else self.text

    def write(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        """Write it at once: what the task wrote to its standard output to ``out``, all else to ``err``.

        Args:
            out: default: standard output.
            err: default: standard error.
        """
        file = (out or sys.stdout) if self.stream == "stdout" else (err or sys.stderr)
        file.write(str(self))
        file.flush()


class Reader:
    """Puts one call's chunks in order. It is told what the store has, and asks for what it wants next."""

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        self.has_ended = False
        self._run = 0
        self._next = 0
        self._at = 0
        self._lost = False
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def wanted(self) -> list[str]:
        """Return the names of the entries to look for; all of them where some were overwritten."""
        if self._lost:
            return output.everything(self.task_id)
        ahead = [output.slot(self.task_id, self._next + number) for number in range(_AHEAD)]
        first = output.slot(self.task_id, 0)  # where another run of the call would begin
        return [*dict.fromkeys([first, *ahead]), output.end(self.task_id)]

    def take(self, found: Mapping[str, bytes]) -> tuple[list[Output], list[str]]:
        """Return what is new in ``found``, and the names of the entries that are read and can go."""
        end = output.decode_end(found.get(output.end(self.task_id), b""))
        chunks = self._chunks(found)
        newest = max([each.run for each in chunks] + ([end.run] if end else []), default=0)
        if newest > self._run:
            self._begin(newest)
        is_all, self._lost = self._lost, False
        shown, read = self._take_chunks([each for each in chunks if each.run == self._run], is_all)
        if end is not None and end.run == self._run and not read:
            return self._take_end(end, is_all)
        return shown, read

    def _chunks(self, found: Mapping[str, bytes]) -> list[Chunk]:
        names = set(found) & set(output.everything(self.task_id)[:-1])
        chunks = [output.decode_chunk(found[name]) for name in names]
        return [each for each in chunks if each is not None and each.run >= self._run]

    def _begin(self, run: int) -> None:
        self._run, self._next, self._at, self._lost = run, 0, 0, False
        self._decoders.clear()

    def _take_chunks(self, chunks: Collection[Chunk], is_all: bool) -> tuple[list[Output], list[str]]:
        """Take chunks in order; past a gap only if ``is_all`` that there is was looked at, and it is at the front."""
        shown: list[Output] = []
        read: list[str] = []
        for chunk in sorted(chunks, key=lambda each: each.number):
            if chunk.number > self._next and (read or not is_all):
                self._lost = not read
                break
            if chunk.number >= self._next:
                shown += [*self._missed(chunk.at), *map(self._output, chunk.pieces)]
                self._at += sum(len(piece.content) for piece in chunk.pieces)
                self._next = chunk.number + 1
                read.append(output.slot(self.task_id, chunk.number))
        return shown, read

    def _take_end(self, end: End, is_all: bool) -> tuple[list[Output], list[str]]:
        if self._next < end.number and not is_all:
            self._lost = True  # what is not where it should be may be somewhere
            return [], []
        self.has_ended, self._next = end.final, end.number
        gone = output.everything(self.task_id) if end.final else [output.end(self.task_id)]
        return self._missed(end.at), gone

    def _missed(self, at: int) -> list[Output]:
        missing, self._at = at - self._at, max(at, self._at)
        if missing <= 0:
            return []
        self._decoders.clear()
        return [Output(self.task_id, "note", f"[{_size(missing)} of output was dropped here]\n")]

    def _output(self, piece: Piece) -> Output:
        if piece.stream == "log":
            text = piece.content.decode("utf-8", "replace")
            return Output(self.task_id, "log", text, piece.level, piece.logger)
        decoder = self._decoders.setdefault(piece.stream, codecs.getincrementaldecoder("utf-8")("replace"))
        return Output(self.task_id, piece.stream, decoder.decode(piece.content))


def read_all(store: BlobStore, readers: Collection[Reader]) -> list[Output]:
    """Return what is new of all these calls, in one round trip, and remove it.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    asked = [name for each in readers for name in each.wanted()]
    found = store.get(asked) if asked else {}
    shown: list[Output] = []
    read: list[str] = []
    for each in readers if found else ():
        more, gone = each.take(found)
        shown += more
        read += gone
    if read:
        store.discard(read)
    return [each for each in shown if each.text]


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
