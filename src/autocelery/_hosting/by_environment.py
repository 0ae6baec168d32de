"""The zygotes of a worker: of its own packages, and of each overlay that is in use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path

from autocelery._hosting.zygotes import Zygotes

#: How many overlays have a zygote at once; one that is not among them is started again when it is asked for.
KEPT = 4


class ZygotesByEnvironment:
    """Owns the zygotes of the worker's own packages, from the start, and those of overlays, from their first use.

    Args:
        folder: where each remembers what its next one preloads.
        preload: what the worker itself has loaded.
    """

    def __init__(self, folder: Path, preload: Collection[str]) -> None:
        self._folder = folder
        self._preload = preload
        self._lock = threading.Lock()
        self._overlays: OrderedDict[str, Zygotes] = OrderedDict()
        self.own = Zygotes(folder / "preload.json", preload)

    def of(self, overlay: str | None) -> Zygotes:
        """Return the zygotes of ``overlay``, the path of one, or of the worker's own packages."""
        if overlay is None:
            return self.own
        with self._lock:
            found = self._overlays.get(overlay)
            if found is None:
                memory = self._folder / f"preload-{Path(overlay).name[:12]}.json"
                found = self._overlays[overlay] = Zygotes(memory, self._preload, overlay)
            self._overlays.move_to_end(overlay)
            surplus = [self._overlays.popitem(last=False)[1] for _ in range(len(self._overlays) - KEPT)]
        for each in surplus:
            each.retire()
        return found

    def kill(self) -> None:
        """End every zygote, with its hosts."""
        with self._lock:
            for each in (self.own, *self._overlays.values()):
                each.kill()
