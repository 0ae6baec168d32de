"""What a database with the schedule can do; each kind of database passes the same contract suite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

#: What became of a tick: recorded and not yet known to be sent; sent; refused by Celery or the task's own class; left
#: out because the last run was still going.
RECORDED, SENT, FAILED, OVERLAPPED = "recorded", "sent", "failed", "overlapped"


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may send.

    ``token`` grows with each new holder, ``renewals`` with each sign of life; ``expires`` is by the database's clock.
    """

    token: int
    holder: str | None
    renewals: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the schedule.

    ``definition`` and ``settings`` are texts, as `Definition.encode` writes them: what the entry says, and what the
    settings said when the two were last one. ``next_fire`` is ``next_tick`` with its jitter; the database looks for
    it. An entry without one is not sent.
    """

    id: str
    key: str
    definition: str
    origin: str
    settings: str | None = None
    removed: bool = False
    anchor: datetime | None = None
    next_tick: datetime | None = None
    next_fire: datetime | None = None
    last_tick: datetime | None = None
    last_task_id: str | None = None
    runs: int = 0
    problem: str | None = None
    edited: datetime | None = None

    @property
    def is_edited(self) -> bool:
        """Whether it says something else than the settings once did."""
        return self.settings is not None and self.settings != self.definition


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick of one entry, which is in the database once; ``call`` is what to send, until it is."""

    entry: str
    key: str
    tick: datetime
    task_id: str
    state: str
    token: int
    call: str | None = None
    error: str | None = None
    recorded: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an entry that is due: how it goes on, and its ticks."""

    entry: Entry
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """What is due now by the database's clock, the earliest first, or when the next entry is."""

    now: datetime
    ids: tuple[str, ...]
    next_fire: datetime | None


@dataclass(frozen=True, slots=True)
class Edits:
    """Changes of the schedule, made in one transaction."""

    put: Sequence[Entry] = field(default=())
    removed: Collection[str] = field(default=())


class BeatStore(Protocol):
    """A database with the schedule.

    Every method raises `BeatDatabaseUnavailable` where the database does not answer in time or refuses, and
    `BeatDatabaseNotReady` where its tables are missing or of another version. What fails has changed nothing, but for
    a commit whose answer was lost: nobody can know of it, and `outbox` tells.
    """

    @property
    def url(self) -> str:
        """What messages call it."""

    def prepare(self) -> None:
        """Make the tables where there are none."""

    def lease(self) -> tuple[datetime, Lease]:
        """Return the time by the database's clock, and the lease."""

    def take(self, seen: Lease, holder: str, seconds: float) -> int | None:
        """Take the lease if it is still as it was seen; return the new token, ``None`` if somebody was faster."""

    def renew(self, token: int, seconds: float) -> bool:
        """Say that the holder of ``token`` is alive; whether the lease is still its."""

    def release(self, token: int) -> None:
        """Let go of the lease, if it is still that of ``token``."""

    def due(self, limit: int) -> Due:
        """Return what is due."""

    def record(
        self, token: int, ids: Collection[str], decide: Callable[[Entry, datetime], Decision]
    ) -> list[Tick] | None:
        """Record ticks: under the fencing token, entries and ticks in one transaction.

        Args:
            token: the lease's.
            ids: of entries that were due; those that are not any more are passed over, and those for which one short
                transaction has no room stay due.
            decide: what becomes of an entry, by the database's clock; it does not raise.

        Returns:
            The ticks that were recorded, ``None`` if the lease is another's: nothing was.
        """

    def outbox(self) -> list[Tick]:
        """Return the ticks that were recorded and are not known to be sent, the oldest first."""

    def settle(self, ticks: Iterable[Tick]) -> None:
        """Write down what became of recorded ticks."""

    def edit(
        self,
        ids: Collection[str],
        change: Callable[[Mapping[str, Entry], datetime], Edits],
        origin: str | None = None,
    ) -> None:
        """Change the schedule, alone: what is recorded or edited elsewhere waits, or was before.

        Args:
            ids: which entries ``change`` needs to see.
            change: gets them by id, and the time.
            origin: it needs to see those that come from there too.
        """

    def entries(self) -> list[Entry]:
        """Return all entries, by their keys."""

    def entry(self, key: str) -> Entry | None:
        """Return the entry called ``key``."""

    def history(self, key: str, limit: int) -> list[Tick]:
        """Return the last ticks of an entry, the latest first."""

    def prune(self, before: datetime) -> None:
        """Forget ticks that came to an end, and were due before that moment."""

    def close(self) -> None:
        """Close this process's connections."""
