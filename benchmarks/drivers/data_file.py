"""A large data file in the tree: sent first, with one byte changed, and unchanged."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.drivers import arguments, reply
from benchmarks.proxy import CountingProxy

NAME = "measured.bin"
_MEGABYTE = 2**20


def main() -> None:
    """Time or count, as asked: ``first`` in a worker's and a store's life, or ``edits`` after that."""
    asked = arguments()
    data = Path("data") / NAME
    if asked["what"] == "first":
        _fill(data, asked["size"])
        reply(_first(data, asked["count"]))
        return
    with CountingProxy(asked["url"]) as proxy:
        os.environ["BENCH_BROKER"] = os.environ["BENCH_BACKEND"] = proxy.url
        call, _ = _calls()
        reply([_bytes_of(partial(_edited, data, number, call), proxy) for number in range(asked["count"])])


def _first(data: Path, count: int) -> dict[str, object]:
    call, right = _calls()
    auto = import_module("proj.celery").auto
    snapshot = _seconds(auto.snapshot)
    first = _seconds(call)
    changed = [_seconds(partial(_edited, data, 1000 + number, call)) for number in range(count)]
    unchanged = [_seconds(auto.snapshot) for _ in range(10)]
    calls = [_seconds(call) for _ in range(10)]
    return {
        "first snapshot": snapshot,
        "first call": first,
        "changed": changed,
        "unchanged": unchanged,
        "unchanged call": calls,
        "wrong": 0 if right(data) else 1,
    }


def _calls() -> tuple[Callable[[], object], Callable[[Path], bool]]:
    answer, auto = import_module("proj.tasks").answer, import_module("proj.celery").auto

    def digest(path: str) -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def is_right(data: Path) -> bool:
        return bool(auto.live(digest).delay(str(data)).get(timeout=120) == digest(str(data)))

    return lambda: answer.live.delay().get(timeout=600), is_right


def _fill(data: Path, size: int) -> None:
    data.parent.mkdir(exist_ok=True)
    with data.open("wb") as file:
        for _ in range(0, size, _MEGABYTE):
            file.write(os.urandom(_MEGABYTE))


def _edited(data: Path, number: int, call: Callable[[], object]) -> None:
    """Change one byte, each time another one, and call."""
    with data.open("r+b") as file:
        file.seek((number * 7_777_777 + 5) % data.stat().st_size)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    call()


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def _bytes_of(do: Callable[[], object], proxy: CountingProxy) -> int:
    before = proxy.counts().sent
    do()
    return proxy.counts().sent - before


if __name__ == "__main__":
    main()
