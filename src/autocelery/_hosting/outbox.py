"""What calls have printed, on its way into the blob store, for callers who listen.

Bounded in every direction: what is pending of a call is half a megabyte, its
older end is dropped; a call's entries in the store are a ring; of calls that
have ended `LINGERING` are kept for a caller who has yet to read them. Nobody
who prints waits here: one thread puts, whether the store is quick or gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import islice

from autocelery._blobs import BlobStore, output
from autocelery._blobs.output import Chunk, End, Piece
from autocelery.errors import AutoceleryError

logger = logging.getLogger(__name__)

#: Seconds between two puts.
INTERVAL = 0.1
#: Chunks of one call in one put: 1.3 MB a second of each.
AT_ONCE = 2
#: Bytes of a call that are kept until they are put.
PENDING_BYTES = 2**19
#: A log record is cut to so many bytes.
RECORD_BYTES = 2**15
#: What a piece's header takes; and what is left of a chunk in which no further piece is begun.
_HEADER_BYTES = 48
_SMALLEST_ROOM = 1024
#: Seconds between two looks whether anybody listens, and after which one who has not stirred is gone.
LOOK_INTERVAL = 2.0
LAPSE = 10.0
#: How many calls that have ended wait for their reader, and for how many seconds.
LINGERING = 64
LINGER = 600.0
#: Seconds for which a run waits until the one before it was read, which it would overwrite.
HOLD = 2.0
#: Seconds to wait before a store that failed is tried again.
PATIENCE = 1.0


class Outgoing:
    """One run of a call: what it has printed and is not in the store yet. Safe for threads."""

    def __init__(self, task_id: str, channel: str, wake: Callable[[bool], None]) -> None:
        self.task_id = task_id
        self.channel = channel
        self.began_at = time.monotonic()
        #: Whether the store may hold something of it.
        self.is_stored = False
        self.ended_at: float | None = None
        self._wake = wake
        self._run = time.time_ns() // 1000
        self._number = 0
        self._at = 0
        self._lock = threading.Lock()
        self._pending: deque[Piece] = deque()
        self._size = 0
        self._end: End | None = None
        self._ready: dict[str, bytes] = {}

    def add(self, piece: Piece) -> None:
        """Add what was printed; what is pending beyond the limit is dropped, the oldest first."""
        if piece.stream == "log" and len(piece.content) > RECORD_BYTES:
            piece = replace(piece, content=piece.content[: RECORD_BYTES - 5] + b" ...\n")
        with self._lock:
            last = self._pending[-1] if self._pending else None
            if last is not None and last.stream == piece.stream != "log" and len(last.content) < 4096:
                self._pending[-1] = replace(last, content=last.content + piece.content)
            else:
                self._pending.append(piece)
                self._size += _HEADER_BYTES + len(piece.logger)
            self._size += len(piece.content)
            while self._size > PENDING_BYTES:
                dropped = self._pending.popleft()
                self._size -= _cost(dropped)
                self._at += len(dropped.content)
        self._wake(False)

    def end(self, final: bool) -> None:
        """Note that nothing more comes; ``final`` unless the call runs again."""
        with self._lock:
            self._end = End(self._run, 0, 0, final)
            self.ended_at = time.monotonic()
        self._wake(True)

    def ready(self) -> dict[str, bytes]:
        """Return the entries to put next, the same ones until `was_put`."""
        with self._lock:
            for _ in range(0 if self._ready else AT_ONCE):
                if not self._pending:
                    break
                chunk = self._cut()
                self._ready[output.slot(self.task_id, chunk.number)] = chunk.encode()
            if self._end is not None and not self._pending:
                end = replace(self._end, number=self._number, at=self._at)
                self._ready[output.end(self.task_id)] = end.encode()
            return dict(self._ready)

    def was_put(self) -> None:
        """Note that what `ready` returned is in the store."""
        with self._lock:
            self.is_stored = self.is_stored or bool(self._ready)
            if output.end(self.task_id) in self._ready:
                self._end = None
            self._ready = {}

    def has_more(self) -> bool:
        """Whether there is something to put."""
        with self._lock:
            return bool(self._pending or self._end or self._ready)

    def _cut(self) -> Chunk:
        """Take a chunk's worth of what is pending; a log record stays in one piece."""
        pieces: list[Piece] = []
        at, room = self._at, output.CHUNK_BYTES
        while self._pending and room > _SMALLEST_ROOM:
            piece = self._pending[0]
            if _cost(piece) > room and piece.stream == "log" and pieces:
                break
            self._pending.popleft()
            self._size -= _cost(piece)
            if _cost(piece) > room:
                fits = room - _cost(replace(piece, content=b""))
                self._pending.appendleft(rest := replace(piece, content=piece.content[fits:]))
                self._size += _cost(rest)
                piece = replace(piece, content=piece.content[:fits])
            pieces.append(piece)
            room -= _cost(piece)
            self._at += len(piece.content)
        chunk = Chunk(self._run, self._number, at, tuple(pieces))
        self._number += 1
        return chunk


def _cost(piece: Piece) -> int:
    """Return the bytes that a piece takes in the store, at most."""
    return _HEADER_BYTES + len(piece.logger) + len(piece.content)


class Outbox:
    """Owns the calls that are heard, and one thread, which starts with the first of them.

    Args:
        open_store: gives the store; ``None`` where the worker has none.
    """

    def __init__(self, open_store: Callable[[], BlobStore | None]) -> None:
        self._open_store = open_store
        self._lock = threading.Lock()
        self._calls: list[Outgoing] = []
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._listeners = Listeners()

    def opened(self, task_id: str, channel: str) -> Outgoing:
        """Return where the output of a call goes that begins now."""
        with self._lock:
            call = Outgoing(task_id, channel, self._awake)
            self._calls.append(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="outbox", daemon=True)
                self._thread.start()
        self._awake(False)
        return call

    def _awake(self, hurry: bool) -> None:
        if hurry:
            self._hurry.set()
        self._wake.set()

    def _serve(self) -> None:
        while True:
            with self._lock:
                idle = not self._calls
            self._wake.wait(None if idle else LOOK_INTERVAL)
            self._wake.clear()
            self._hurry.clear()
            try:
                self._put()
            except AutoceleryError as exc:
                logger.debug("Output of tasks was not put: %s", exc)
                time.sleep(PATIENCE)
                self._wake.set()
            except Exception:  # this thread has to live as long as its process
                logger.exception("Output of tasks was not put")
                time.sleep(PATIENCE)
            self._hurry.wait(INTERVAL)

    def _put(self) -> None:
        now = time.monotonic()  # before: a call that is not among them began later
        with self._lock:
            calls = list(self._calls)
        store = self._open_store()
        if store is None:
            return self._forget([each for each in calls if each.ended_at is not None])
        self._listeners.look(store, {each.channel: each.began_at for each in calls}, now)
        heard = [each for each in calls if self._listeners.listens(each.channel)]
        in_turn = self._in_turn(store, heard, now)
        blobs = {name: content for each in in_turn for name, content in each.ready().items()}
        if blobs:
            store.put(blobs)
        for each in in_turn:
            each.was_put()
        self._clear_up(store, calls, heard, now)
        if any(each.has_more() for each in heard):
            self._wake.set()
        return None

    def _in_turn(self, store: BlobStore, heard: Collection[Outgoing], now: float) -> list[Outgoing]:
        """Return ``heard`` without the runs that would overwrite what the one before has put, and nobody has read."""
        latest: dict[str, Outgoing] = {}
        in_turn = []
        for each in heard:  # in the order in which they began
            before = latest.get(each.task_id)
            latest[each.task_id] = each
            if before is None or before.ended_at is None:
                in_turn.append(each)
            elif _is_read(store, before, now - before.ended_at):
                in_turn.append(each)
                self._forget([before])
        return in_turn

    def _clear_up(
        self, store: BlobStore, calls: Collection[Outgoing], heard: Collection[Outgoing], now: float
    ) -> None:
        """Remove what nobody reads: of callers who are gone, and of calls that ended long ago."""
        ended = [each for each in calls if each.ended_at is not None and not each.has_more()]
        late = set(islice(ended, max(0, len(ended) - LINGERING)))
        late |= {each for each in ended if now - (each.ended_at or now) > LINGER}
        unheard = {each for each in calls if each not in heard}
        stale = {each for each in late | unheard if each.is_stored}
        if stale:
            store.discard([name for each in stale for name in output.everything(each.task_id)])
        for each in stale:
            each.is_stored = False
        self._forget(late | {each for each in unheard if each.ended_at is not None})

    def _forget(self, calls: Collection[Outgoing]) -> None:
        with self._lock:
            self._calls = [each for each in self._calls if each not in calls]


def _is_read(store: BlobStore, run: Outgoing, since: float) -> bool:
    """Whether nothing of a ``run`` that ended ``since`` seconds ago waits for a reader, or all has waited enough."""
    if since > HOLD:
        return True
    names = output.everything(run.task_id)
    return not run.has_more() and len(store.missing(names)) == len(names)


class Listeners:
    """Which channels somebody listens to: those whose entry in the store changes."""

    def __init__(self) -> None:
        self._looked = 0.0
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        self._lapsed: set[str] = set()

    def listens(self, channel: str) -> bool:
        """Whether somebody listened to ``channel`` when it was last looked at."""
        return self._seen.get(channel, (None, 0.0))[0] is not None and channel not in self._lapsed

    def look(self, store: BlobStore, channels: Mapping[str, float], now: float) -> None:
        """Look at all of ``channels`` where that is due, and remove the entries of those who are gone.

        Args:
            store: where their entries are.
            channels: the moment at which the latest call of each began: its caller was there a moment before.
            now: this moment, by the same clock.
        """
        has_news = any(
            each not in self._seen or (began > self._looked and not self.listens(each))
            for each, began in channels.items()
        )
        if now - self._looked < LOOK_INTERVAL and not has_news:
            return
        found = store.get([output.hear(each) for each in channels])
        self._looked = now
        before, self._seen = self._seen, {}
        for channel in channels:
            content = found.get(output.hear(channel))
            seen, since = before.get(channel, (None, now))
            self._seen[channel] = (content, since if content == seen else now)
        self._lapsed = {each for each, (_, since) in self._seen.items() if now - since > LAPSE}
        gone = [output.hear(each) for each in self._lapsed if self._seen[each][0] is not None]
        if gone:
            store.discard(gone)
