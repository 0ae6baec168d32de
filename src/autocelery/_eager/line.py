"""Messages that wait for their turn, and the clock that says whose turn it is.

A message is due when its ETA comes; one without is due when it was sent. While
the clock runs freely nobody waits for an ETA: the clock jumps to it, so that
what is sent from there counts its own countdown from there. A clock that is
held, by a test, stands still, and what is not due yet waits until it is moved.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Waiting:
    """A message in line.

    Args:
        due: when it may run, in UTC.
        number: how many messages were sent before it.
        name: of its task.
        raw: the message as the transport has it.
        step: how many messages, one sent by the run of the other, lead to it.
    """

    due: datetime
    number: int
    name: str = field(compare=False)
    raw: dict[str, Any] = field(compare=False)
    step: int = field(compare=False)


class Clock:
    """The time by which messages are due. Safe for threads: each jumps for itself, a held clock is everybody's."""

    def __init__(self) -> None:
        self._jumped = threading.local()
        self._held: datetime | None = None

    @property
    def is_held(self) -> bool:
        """Whether it stands still until it is moved."""
        return self._held is not None

    def now(self) -> datetime:
        """Return the time, in UTC."""
        if self._held is not None:
            return self._held
        return max(datetime.now(UTC), getattr(self._jumped, "to", datetime.min.replace(tzinfo=UTC)))

    def jump(self, to: datetime | None) -> datetime | None:
        """Have a clock that is not held say at least ``to`` in this thread; return what it was told before."""
        before: datetime | None = getattr(self._jumped, "to", None)
        self._jumped.to = to or datetime.min.replace(tzinfo=UTC)
        return before

    def hold(self, at: datetime | None = None) -> None:
        """Stand still at ``at``, by default at the time that it is."""
        self._held = at or self.now()

    def move(self, by: timedelta) -> None:
        """Move a held clock forward."""
        self.hold(self.now() + by)

    def release(self) -> None:
        """Run freely again."""
        self._held = None


class Line:
    """Who waits, in the order in which they are due. Each thread runs what it has sent, at once.

    With a clock that is held, what is not due is everybody's: whoever moves the clock runs it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int | None, list[Waiting]] = defaultdict(list)

    def put(self, name: str, raw: dict[str, Any], due: datetime | None, step: int) -> None:
        """Add a message for the task ``name``; ``due`` is its ETA."""
        with self._lock:
            waiting = Waiting(due or self._clock.now(), next(self._numbers), name, raw, step)
            heapq.heappush(self._waiting[self._mine()], waiting)

    def take(self) -> Waiting | None:
        """Remove and return the next message that may run in this thread, if there is one."""
        with self._lock:
            mine = self._waiting.get(self._mine())
            if not mine or (self._clock.is_held and mine[0].due > self._clock.now()):
                return None
            taken = heapq.heappop(mine)
            if not mine:
                del self._waiting[self._mine()]
            return taken

    def waiting(self) -> list[Waiting]:
        """Return who waits, of all threads, in order."""
        with self._lock:
            return sorted(each for line in self._waiting.values() for each in line)

    def clear(self) -> None:
        """Forget everyone who waits in this thread, or with a held clock."""
        with self._lock:
            self._waiting.pop(self._mine(), None)

    def _mine(self) -> int | None:
        return None if self._clock.is_held else threading.get_ident()
