"""Snapshot after snapshot through one worker's cache; after each, what it has on the disk."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from benchmarks.cache_rounds import disk, rounds
from benchmarks.drivers import arguments, reply

#: After how many snapshots the files are counted where the file system itself is asked all the time.
_EVERY = 20


def main() -> None:
    """Do the rounds; besides, look at the file system all the time if it is one of the cache's own."""
    asked = arguments()
    folder, place = Path(asked["folder"]), Path(asked["place"])
    peak = _Peak(place) if asked["is_own_disk"] else None
    began = time.perf_counter()
    sizes = []
    every = _EVERY if peak else 1
    for number, _ in rounds(folder, count=asked["count"], limit=asked["limit"], place=place):
        if number % every == 0:
            sizes.append(disk(place))
    seconds = time.perf_counter() - began
    reply({"after": sizes, "during": peak.stopped() if peak else 0, "seconds": seconds})


class _Peak:
    """Owns a thread that asks how much of a file system is taken, every millisecond or two."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._most = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stopped(self) -> int:
        """Return the most bytes that were taken at once."""
        self._stopping.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._stopping.wait(0.001):
            status = os.statvfs(self._place)
            self._most = max(self._most, (status.f_blocks - status.f_bfree) * status.f_frsize)


if __name__ == "__main__":
    main()
