"""The zygotes of a worker: of its own packages, of overlays that need one of their own, of what stands alone."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from autocelery._hosting.interiors import Interior
from autocelery._hosting.own_code import OwnCode
from autocelery._hosting.zygotes import HostProcess, Zygotes
from autocelery_host.order import Order

#: How many other environments keep a zygote when no host is being forked; one that is not among them is started again.
KEPT = 4


class ZygotesByEnvironment:
    """Owns the zygotes of the worker's own packages, from the start, and those of others, from their first use.

    A host that needs an overlay is forked from the worker's own zygote where
    nothing that this has imported would have come out otherwise with it: most
    overlays only add packages. Any other overlay has a zygote of its own, and so has an
    environment that stands alone.

    Args:
        folder: where each remembers what its next one preloads.
        preload: what the worker itself has loaded.
    """

    def __init__(self, folder: Path, preload: Collection[str]) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._others: OrderedDict[Interior, Zygotes] = OrderedDict()
        self._forking: Counter[Interior] = Counter()
        self._code = OwnCode(folder / "code")
        self.own = Zygotes(folder / "preload.json", preload)

    def fork(self, order: Order, sock: socket.socket) -> tuple[HostProcess, Zygotes]:
        """Fork a host for ``order`` that talks over ``sock``; return it, and whose zygote it came from.

        Raises:
            AgentUnavailable: the zygote died meanwhile, or does not start.
        """
        interior = self._interior(order)
        if interior is None:
            return self.own.fork(order, sock), self.own
        with self._held(interior) as zygotes:
            return zygotes.fork(order, sock), zygotes

    def _interior(self, order: Order) -> Interior | None:
        """Return what the zygote for ``order`` has around it; ``None`` where the worker's own will do."""
        if order.interpreter is not None:
            return Interior(interpreter=order.interpreter, code=str(self._code.get()))
        if order.overlay is None or is_indifferent(self.own.ready().looked_for, Path(order.overlay)):
            return None
        return Interior(overlay=order.overlay)

    def kill(self) -> None:
        """End every zygote, with its hosts."""
        with self._lock:
            for each in (self.own, *self._others.values()):
                each.kill()

    @contextlib.contextmanager
    def _held(self, interior: Interior) -> Iterator[Zygotes]:
        """Give the zygotes of ``interior``; they are not retired while the block runs."""
        with self._lock:
            self._forking[interior] += 1
        try:
            yield self._started(interior)
        finally:
            with self._lock:
                self._forking[interior] -= 1
                surplus = self._surplus()
            for each in surplus:
                each.retire()

    def _started(self, interior: Interior) -> Zygotes:
        """Return its zygotes; the first of them preloads what an earlier one has learned, else nothing yet.

        Its first host waits for it, and imports only what its own snapshot needs.
        """
        with self._lock:
            found = self._others.get(interior)
            if found is None:
                memory = self._folder / f"preload-{interior.name[:12]}.json"
                found = self._others[interior] = Zygotes(memory, (), interior)
            self._others.move_to_end(interior)
        return found

    def _surplus(self) -> list[Zygotes]:
        """Take out those that were not used for longest and fork nothing now."""
        self._forking = +self._forking
        idle = [each for each in self._others if each not in self._forking]
        return [self._others.pop(each) for each in idle[: max(0, len(self._others) - KEPT)]]


def is_indifferent(looked_for: Mapping[str, Any], overlay: Path) -> bool:
    """Tell whether imports would have come out the same with ``overlay`` before the worker's packages.

    Args:
        looked_for: the modules and distributions that were loaded or looked for, as a zygote tells.
        overlay: a folder of packages.
    """
    modules, distributions, groups = set(), set(), set()
    for each in overlay.iterdir():
        if each.suffix == ".dist-info":
            distributions.add(canonicalize_name(each.name.partition("-")[0]))
            groups |= _entry_point_groups(each)
        else:
            modules.add(each.name.partition(".")[0])
    return (
        modules.isdisjoint(looked_for["modules"])
        and distributions.isdisjoint(looked_for["distributions"])
        and groups.isdisjoint(looked_for["groups"])
        and not (groups and looked_for["scanned"])
    )


def _entry_point_groups(info: Path) -> set[str]:
    """Return the groups of entry points that a distribution has: its plug-ins, by whom they are for."""
    try:
        text = (info / "entry_points.txt").read_text()
    except (OSError, UnicodeDecodeError):
        return set()
    return {line.strip()[1:-1].strip() for line in text.splitlines() if line.strip().startswith("[")}
