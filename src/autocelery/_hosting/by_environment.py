"""The zygotes of a worker: of its own packages, and of overlays that need one of their own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from autocelery._hosting.zygotes import HostProcess, Zygotes
from autocelery_host.order import Order

#: How many overlays keep a zygote when no host is being forked; one that is not among them is started again.
KEPT = 4


class ZygotesByEnvironment:
    """Owns the zygotes of the worker's own packages, from the start, and those of overlays, from their first use.

    A host that needs an overlay is forked from the worker's own zygote where
    nothing that this has imported would have come out otherwise with it: most
    overlays only add packages. Any other overlay has a zygote of its own.

    Args:
        folder: where each remembers what its next one preloads.
        preload: what the worker itself has loaded.
    """

    def __init__(self, folder: Path, preload: Collection[str]) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._overlays: OrderedDict[str, Zygotes] = OrderedDict()
        self._forking: Counter[str] = Counter()
        self.own = Zygotes(folder / "preload.json", preload)

    def fork(self, order: Order, sock: socket.socket) -> tuple[HostProcess, Zygotes]:
        """Fork a host for ``order`` that talks over ``sock``; return it, and whose zygote it came from.

        Raises:
            AgentUnavailable: the zygote died meanwhile, or does not start.
        """
        if order.overlay is None:
            return self.own.fork(order, sock), self.own
        serving = self.own.ready()
        if is_indifferent(serving.looked_for, Path(order.overlay)):
            return serving.fork(order, sock), self.own
        with self._held(order.overlay) as zygotes:
            return zygotes.fork(order, sock), zygotes

    def kill(self) -> None:
        """End every zygote, with its hosts."""
        with self._lock:
            for each in (self.own, *self._overlays.values()):
                each.kill()

    @contextlib.contextmanager
    def _held(self, overlay: str) -> Iterator[Zygotes]:
        """Give the zygotes of ``overlay``; they are not retired while the block runs."""
        with self._lock:
            self._forking[overlay] += 1
        try:
            yield self._started(overlay)
        finally:
            with self._lock:
                self._forking[overlay] -= 1
                surplus = self._surplus()
            for each in surplus:
                each.retire()

    def _started(self, overlay: str) -> Zygotes:
        with self._lock:
            found = self._overlays.get(overlay)
            if found is None:
                memory = self._folder / f"preload-{Path(overlay).name[:12]}.json"
                found = self._overlays[overlay] = Zygotes(memory, self.own.wanted, overlay)
            self._overlays.move_to_end(overlay)
        return found

    def _surplus(self) -> list[Zygotes]:
        """Take out those that were not used for longest and fork nothing now."""
        self._forking = +self._forking
        idle = [each for each in self._overlays if each not in self._forking]
        return [self._overlays.pop(each) for each in idle[: max(0, len(self._overlays) - KEPT)]]


def is_indifferent(looked_for: Mapping[str, Any], overlay: Path) -> bool:
    """Tell whether imports would have come out the same with ``overlay`` before the worker's packages.

    Args:
        looked_for: the modules and distributions that were loaded or looked for, as a zygote tells.
        overlay: a folder of packages.
    """
    modules, distributions, has_entry_points = set(), set(), False
    for each in overlay.iterdir():
        if each.suffix == ".dist-info":
            distributions.add(canonicalize_name(each.name.partition("-")[0]))
            has_entry_points = has_entry_points or (each / "entry_points.txt").exists()
        else:
            modules.add(each.name.partition(".")[0])
    return (
        modules.isdisjoint(looked_for["modules"])
        and distributions.isdisjoint(looked_for["distributions"])
        and not (has_entry_points and looked_for["scanned"])
    )
