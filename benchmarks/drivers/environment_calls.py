"""autocelery: calls that need packages which the worker has not, and edits beside with and without them."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

from benchmarks.drivers import arguments, reply, time_edits


def main() -> None:
    """For each folder of packages: the first call that needs it, an edit with it, an edit without it."""
    asked = arguments()
    tasks = import_module("proj.tasks")

    def call() -> int:
        return int(tasks.answer.live.delay().get(timeout=60))

    time_edits(call, count=asked["warm"], first=asked["first"])
    told: dict[str, list[Any]] = {"first": [], "versions": [], "attached": [], "plain": []}
    for number, site in enumerate(asked["sites"], start=1):
        first = asked["first"] + 100 * number
        sys.path.append(site)
        began = time.perf_counter()
        sent = [tasks.versions.live.delay() for _ in range(asked["crowd"])]
        told["versions"].append([each.get(timeout=120) for each in sent])
        told["first"].append(time.perf_counter() - began)
        told["attached"] += time_edits(call, count=asked["count"], first=first)
        sys.path.remove(site)
        told["plain"] += time_edits(call, count=asked["count"], first=first + 50)
    reply(told)


if __name__ == "__main__":
    main()
