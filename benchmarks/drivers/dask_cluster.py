"""A Dask cluster of two processes, away from the project, until standard input is closed."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from benchmarks.drivers import reply


def main() -> None:
    """Start the cluster, say its address, wait for the end of input, stop it."""
    with import_module("distributed").LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        local_directory=str(Path.cwd()),
    ) as cluster:
        reply(cluster.scheduler_address)
        sys.stdin.read()


if __name__ == "__main__":
    main()
