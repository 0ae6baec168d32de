"""How long autocelery looks at the tree: nothing changed, by a new process, and with nothing remembered."""

from __future__ import annotations

import gc
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from autocelery._snapshot.collect import collect
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.stat_memory import StatMemory
from benchmarks.drivers import arguments, reply

_LIMIT = 2**30


def main() -> None:
    """Time each way as often as asked and check that all find the same tree."""
    count = arguments()["count"]
    top = Path.cwd()
    rules = ShipRules.read(top)
    digests = set()

    def seconds(memory: StatMemory) -> float:
        gc.collect()
        began = time.perf_counter()
        digests.add(collect(top, memory=memory, limit=_LIMIT, rules=rules).digest)
        return time.perf_counter() - began

    with TemporaryDirectory(prefix="bench-stat-") as folder:
        kept = StatMemory(Path(folder))
        seconds(kept)
        kept.save()
        cold, remembered, unchanged, sent = [], [], [], []
        shipper = import_module("proj.celery").auto
        shipper.snapshot()
        for _ in range(count):
            cold.append(seconds(StatMemory()))
            remembered.append(seconds(StatMemory(Path(folder))))
            unchanged.append(seconds(kept))
            began = time.perf_counter()
            shipper.snapshot()
            sent.append(time.perf_counter() - began)
    if len(digests) != 1:
        raise RuntimeError(f"the same tree was collected as {len(digests)} different ones")
    reply({"cold": cold, "remembered": remembered, "unchanged": unchanged, "snapshot": sent})


if __name__ == "__main__":
    main()
