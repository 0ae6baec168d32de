"""How many processes, file descriptors, bytes of disk and of memory a worker and its agent have."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.shops import Caller, Shop, family_of, own_server
from tests.waiting import wait_for
from tests.workers import Worker

_MEGABYTE = 2**20
SETTLED_AFTER = 50
#: Growth that an allocator's habits explain: bytes per edit, and bytes at all.
BYTES_AN_EDIT = 2_000
BYTES_AT_ALL = 4 * 2**20
#: Files of a few layouts: how many are laid out depends on how many were in use when the last edits came.
FEW_FILES = 3 * 51


@dataclass(frozen=True, slots=True)
class Size:
    """What a worker takes at one moment: counts, and bytes."""

    processes: int
    agent_fds: int
    agent_threads: int
    worker_fds: int
    agent_memory: int
    worker_memory: int
    zygote_memory: int
    files: int
    disk: int

    def __str__(self) -> str:
        return (
            f"{self.processes} processes; agent {self.agent_fds} fds, {self.agent_threads} threads, "
            f"{self.agent_memory / _MEGABYTE:.1f} MB; worker {self.worker_fds} fds, "
            f"{self.worker_memory / _MEGABYTE:.1f} MB; zygotes {self.zygote_memory / _MEGABYTE:.1f} MB; "
            f"disk {self.files} files, {self.disk / _MEGABYTE:.1f} MB"
        )


def size_of(worker: Worker, cache: Path) -> Size:
    """Return what ``worker`` takes, with its cache folder."""
    family = family_of(worker.pid)
    celery = [family.main, *family.pool]
    files = [each for each in cache.rglob("*") if not each.is_symlink() and each.is_file()]
    return Size(
        processes=len(family.everybody()),
        agent_fds=sum(each.num_fds() for each in family.agents),
        agent_threads=sum(each.num_threads() for each in family.agents),
        worker_fds=sum(each.num_fds() for each in celery),
        agent_memory=_memory(family.agents),
        worker_memory=_memory(celery),
        zygote_memory=_memory(family.zygotes),
        files=len(files),
        disk=sum({(status := each.stat()).st_ino: status.st_size for each in files}.values()),
    )


def _memory(processes: list[psutil.Process]) -> int:
    return sum(each.memory_info().rss for each in processes)


def edit_and_call(shop: Shop, caller: Caller, number: int) -> None:
    """Edit a file, call, and check that the edit is what ran."""
    shop.write("tasks.py", shop.tasks.replace("return x + y", f"return x + y + {number}"))
    assert shop.result(caller.send("add", 1, 1)) == number + 2


def settled(worker: Worker, cache: Path) -> Size:
    """Return what ``worker`` takes once the agent has tidied up and nothing changes any more."""
    seen: list[Size] = []

    def unchanged() -> Size | None:
        with suppress(psutil.NoSuchProcess, FileNotFoundError):
            seen.append(size_of(worker, cache))
        latest = [(each.processes, each.agent_fds, each.files) for each in seen[-15:]]
        return seen[-1] if len(latest) == 15 and len(set(latest)) == 1 else None

    found = wait_for(unchanged, 20, f"{os.fspath(cache)} is tidied up")
    assert found is not None
    return found


@contextmanager
def edited_shop(folder: Path) -> Iterator[Shop]:
    """A shop with some more files, one of them executable."""
    with ExitStack() as owned:
        server = own_server(owned)
        shop = Shop(folder, server.broker_url, server.result_backend)
        owned.callback(shop.close)
        for number in range(40):
            shop.write(f"module_{number}.py", f"VALUE = {number}\n" * 50)
        shop.write("module_40.py", "VALUE = 40\n").chmod(0o755)
        yield shop


def assert_bounded(shop: Shop, edits: int) -> None:
    """Edit and call so many times, and check that nothing has grown since the first fifty."""
    worker, caller = shop.worker("bounded", "-c", "1"), shop.caller()
    cache = shop.home / "cache" / "worker"
    for number in range(SETTLED_AFTER):
        edit_and_call(shop, caller, number)
    before = settled(worker, cache)
    for number in range(SETTLED_AFTER, edits):
        edit_and_call(shop, caller, number)
    after = settled(worker, cache)
    print(f"\nafter {SETTLED_AFTER} edits: {before}\nafter {edits} edits: {after}")
    assert_flat(before, after, edits - SETTLED_AFTER)


def assert_flat(before: Size, after: Size, edits: int) -> None:
    grown = BYTES_AT_ALL + BYTES_AN_EDIT * edits
    assert after.processes <= before.processes
    assert after.agent_fds <= before.agent_fds + 2
    assert after.agent_threads <= before.agent_threads + 1
    assert after.worker_fds <= before.worker_fds + 2
    assert after.agent_memory - before.agent_memory < grown
    assert after.worker_memory - before.worker_memory < grown
    assert after.zygote_memory - before.zygote_memory < grown
    assert after.files <= before.files + FEW_FILES
    assert after.disk <= before.disk + 2**18
