"""Ray: connect with a ``runtime_env`` of packages, twice for each list of them."""

from __future__ import annotations

import logging
import time
from importlib import import_module
from typing import Any

from benchmarks.drivers import arguments, reply


def main() -> None:
    """Connect, run one task that imports them, disconnect: the first and the second time."""
    asked = arguments()
    ray = import_module("ray")

    def timed(wanted: list[str]) -> float:
        began = time.perf_counter()
        environment = {"working_dir": ".", "excludes": [".git"], "pip": wanted}
        ray.init(
            address=asked["address"],
            runtime_env=environment,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        try:
            ray.get(ray.remote(_versions).remote(), timeout=300)
        finally:
            ray.shutdown()
        return time.perf_counter() - began

    reply([(timed(wanted), timed(wanted)) for wanted in asked["wanted"]])


def _versions() -> Any:
    return import_module("proj.extras").versions()


if __name__ == "__main__":
    main()
