"""Very many edits in a row; after each so many, what the worker's side of the machine holds."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import psutil

from benchmarks.drivers import Edit, arguments, reply, time_edits
from benchmarks.fleet import Namespace


def main() -> None:
    """Edit and call as often as asked, and take a sample after every ``every`` edits."""
    asked = arguments()
    answer = import_module("proj.tasks").answer
    namespace = Namespace(asked["prefix"], Path(asked["home"]))

    def call() -> int:
        return int(answer.live.delay().get(timeout=60))

    edits: list[Edit] = []
    samples: list[dict[str, float]] = []
    while len(edits) < asked["count"]:
        edits += time_edits(call, count=asked["every"], first=asked["first"] + len(edits))
        samples.append({"edits": len(edits), **_sample(namespace, asked["pid"])})
    reply({"edits": edits, "samples": samples})


def _sample(namespace: Namespace, worker: int) -> dict[str, float]:
    mine = os.getpid()
    sample = {"processes": 0.0, "descriptors": 0.0, "worker MB": 0.0, "agent MB": 0.0, "zygote MB": 0.0}
    pool = {worker, *(child.pid for child in psutil.Process(worker).children() if _role(child) == "worker")}
    for process in namespace.processes():
        if process.pid == mine:
            continue
        try:
            role = "worker" if process.pid in pool else _role(process)
            sample["processes"] += 1
            sample["descriptors"] += process.num_fds()
            if f"{role} MB" in sample:
                sample[f"{role} MB"] += process.memory_full_info().pss / 2**20
        except psutil.NoSuchProcess:
            continue
    sample["disk MB"] = _disk(namespace.home / "cache" / "worker")
    return sample


def _role(process: psutil.Process) -> str:
    command = process.cmdline()
    if "autocelery._hosting.agent" in command:
        return "agent"
    if "autocelery_host.zygote" not in command:
        return "worker" if "worker" in command else "other"
    parent = process.parent()
    # A host is a fork of its zygote and keeps its command line.
    return "host" if parent is not None and "autocelery_host.zygote" in parent.cmdline() else "zygote"


def _disk(folder: Path) -> float:
    """Return the megabytes that ``folder`` takes on the disk; a file with many names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for path, _, files in os.walk(folder):
        for name in (path, *(os.path.join(path, file) for file in files)):
            try:
                status = os.lstat(name)
            except FileNotFoundError:
                continue
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values()) / 2**20


if __name__ == "__main__":
    main()
