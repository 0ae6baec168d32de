"""One call deployed and the same call live, pinned and warm, pair by pair against one worker."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.drivers import arguments, reply


def main() -> None:
    """Time as many pairs as asked, in a random order within each."""
    asked = arguments()
    tasks = import_module("proj.tasks")
    pinned = tasks.nothing.using(import_module("proj.celery").auto.snapshot())
    calls: dict[str, Callable[[], Any]] = {"deployed": tasks.nothing.delay, "live": pinned.delay}
    for _ in range(asked["warm"]):
        for call in calls.values():
            call().get(timeout=60)
    dice = random.Random(7)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(asked["count"]):
        for name in dice.sample(sorted(calls), 2):
            began = time.perf_counter()
            calls[name]().get(timeout=60)
            seconds[name].append(time.perf_counter() - began)
    reply(seconds)


if __name__ == "__main__":
    main()
