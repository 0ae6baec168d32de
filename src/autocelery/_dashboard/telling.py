"""Which workers let their tasks be seen: a heartbeat, which each sends, says how many it has run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: Heartbeats after which an event that a worker has sent is here: it may keep those of tasks back for a second.
_HEARTBEATS: Final = 2


@dataclass
class _Counted:
    """The number of tasks run when it was last in order, and how many heartbeats have told of more since."""

    processed: int | None = None
    heartbeats: int = 0


class Telling:
    """Tells by their events which workers send none of tasks: `inspect` does not, and it may change while they run."""

    def __init__(self) -> None:
        self._workers: dict[str, _Counted] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Go by one event of a worker."""
        counted = self._workers.setdefault(str(event.get("hostname")), _Counted())
        processed = event.get("processed")
        if event["type"].startswith("task-"):
            counted.processed, counted.heartbeats = None, 0
        elif isinstance(processed, int) and (counted.processed is None or processed < counted.processed):
            counted.processed, counted.heartbeats = processed, 0
        elif isinstance(processed, int) and processed > (counted.processed or 0):
            counted.heartbeats += 1

    def is_silent(self, worker: str) -> bool:
        """Whether a worker has run a task since it was first heard, and told of none."""
        counted = self._workers.get(worker)
        return counted is not None and counted.heartbeats >= _HEARTBEATS

    def forget(self) -> None:
        """Begin anew: what was sent while nobody listened is gone."""
        self._workers.clear()
