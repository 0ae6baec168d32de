"""Ray: connect to a running local cluster with the project as ``working_dir``, once for each edit.

A ``working_dir`` belongs to a job, so each edit is a new ``ray.init``; importing
Ray and starting the cluster are not counted.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from benchmarks.drivers import arguments, reply, time_edits


def main() -> None:
    """Edit, connect, run one task, disconnect, as often as asked."""
    asked = arguments()
    ray = import_module("ray")

    def connect_and_call() -> int:
        ray.init(
            address=asked["address"],
            runtime_env={"working_dir": ".", "excludes": [".git"]},
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
        try:
            return int(ray.get(ray.remote(_version).remote(), timeout=120))
        finally:
            ray.shutdown()

    reply(time_edits(connect_and_call, count=asked["count"], first=asked["first"]))


def _version() -> Any:
    return import_module("proj.scoring").version()


if __name__ == "__main__":
    main()
