"""Clusters of the peers, on loopback, with nothing switched on that the comparison does not need."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.session import REPOSITORY

#: How long a cluster may take to start or to stop, in seconds.
DEADLINE = 90.0

RAY_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_DEDUP_LOGS": "0",
}
_RAY_START = (
    "start",
    "--head",
    "--block",
    "--node-ip-address=127.0.0.1",
    "--num-cpus=2",
    "--include-dashboard=false",
    "--disable-usage-stats",
    "--object-store-memory=100000000",
)


class PeerFailed(Exception):
    """A peer's cluster did not start; the text says what it said."""


@contextmanager
def ray_cluster(python: Path) -> Iterator[str]:
    """A running Ray cluster of two CPUs; yields its address.

    Its folder has a short name because Ray puts Unix sockets deep into it.
    """
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        port = _free_port()
        command = [str(python.parent / "ray"), *_RAY_START, f"--port={port}", f"--temp-dir={folder}"]
        with _process(command, Path(folder), RAY_VARIABLES) as process:
            _await_line(process, "Ray runtime started")
            yield f"127.0.0.1:{port}"


@contextmanager
def dask_cluster(python: Path) -> Iterator[str]:
    """A running Dask cluster of two worker processes; yields its address."""
    with tempfile.TemporaryDirectory(prefix="dask-", ignore_cleanup_errors=True) as folder:
        command = [str(python), "-m", "benchmarks.drivers.dask_cluster", "{}"]
        with _process(command, Path(folder), {"PYTHONPATH": str(REPOSITORY), "TMPDIR": folder}) as process:
            yield str(json.loads(_await_line(process, "tcp://")))


@contextmanager
def _process(
    command: list[str], folder: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process and all that it starts; at the end its input is closed, then it and the rest are ended."""
    with (folder / "output.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for straggler in alive:
        try:
            straggler.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(DEADLINE)


def _await_line(process: subprocess.Popen[str], part: str) -> str:
    """Return the first line of the process's log with ``part`` in it."""
    log = Path(psutil.Process(process.pid).cwd()) / "output.log"
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        for line in log.read_text(errors="replace").splitlines():
            if part in line:
                return line
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise PeerFailed(
        " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])[-400:] or "it said nothing"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
