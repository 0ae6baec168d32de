"""Snapshot after snapshot of a small project through one worker's cache, and the disk that it takes meanwhile.

What a worker's agent does for a call is done here in one process: verify,
fetch, lay out, and tidy up beside it; no host is forked, which would take most
of the time and none of the disk.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celery import Celery

from autocelery import Autocelery
from autocelery._blobs.folder import FolderStore
from autocelery._config import Home
from autocelery._hosting.preparing import Preparer
from autocelery._hosting.terms import AgentTerms
from autocelery._hosting.tidying import Tidier
from autocelery_host.order import WorkerTerms

#: Files of data in the project, each a ninetieth of it.
TABLES = 80
#: How much of the cache's limit the project has: three versions fit, which are in use at once while the third is laid
#: out and whatever was edited, and little more. What is in use stays, however much that is.
SHARE = 0.8
#: After so many snapshots the store forgets what is older than so many seconds, lest it fill a disk.
SWEPT_EVERY, SWEPT = 500, 60.0
#: How many snapshots are in use at once, as by warm hosts.
IN_USE = 2


class Project:
    """A folder with code and data that is edited at random, the same way with each seed.

    Args:
        top: a folder that does not exist yet.
        seed: of the edits.
        size: about how many bytes it has.
    """

    def __init__(self, top: Path, seed: int, size: int) -> None:
        self.top = top
        self._dice = random.Random(seed)
        self._names: set[str] = set()
        self._table, self._large, self._tool = size // 90, max(size // 20, 2_500_000), size // 300
        self._write("pyproject.toml", b'[tool.autocelery]\nenvironment = "worker"\n')
        for number in range(60):
            self._write(f"shop/part_{number % 6}/module_{number}.py", self._code())
        for number in range(TABLES):
            self._write(f"data/table_{number}.csv", self._dice.randbytes(self._table))
        for number in range(2):
            self._write(f"data/large_{number}.bin", self._dice.randbytes(self._large))
        self._write("bin/tool", self._dice.randbytes(self._tool)).chmod(0o755)

    def edit(self) -> None:
        """Change something: code mostly, sometimes data, a byte of a large file, a file more or less."""
        kind = self._dice.choices(("code", "data", "byte", "new", "gone", "tool"), (50, 25, 14, 5, 5, 1))[0]
        tables = sum(name.startswith("data/table_") for name in self._names)
        if kind == "code":
            self._write(self._some("shop"), self._code())
        elif kind == "data":
            self._write(self._some("data/table_"), self._dice.randbytes(self._table))
        elif kind == "byte":
            with (self.top / self._some("data/large_")).open("r+b") as file:
                file.seek(self._dice.randrange(self._large))
                file.write(self._dice.randbytes(1))
        elif kind == "new" and tables < TABLES + 3:
            self._write(f"data/table_{self._dice.randrange(10**9)}.csv", self._dice.randbytes(self._table))
        elif kind == "gone" and tables > TABLES - 3:
            name = self._some("data/table_")
            (self.top / name).unlink()
            self._names.remove(name)
        else:
            self._write("bin/tool", self._dice.randbytes(self._tool))

    def _some(self, prefix: str) -> str:
        return self._dice.choice(sorted(each for each in self._names if each.startswith(prefix)))

    def _code(self) -> bytes:
        return "".join(
            f"VALUE_{self._dice.randrange(10**6)} = {self._dice.random()}\n"
            for _ in range(self._dice.randint(20, 600))
        ).encode()

    def _write(self, name: str, content: bytes) -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._names.add(name)
        return path


def rounds(
    folder: Path, *, count: int, limit: int, seed: int = 1, place: Path | None = None
) -> Iterator[tuple[int, Path]]:
    """Yield the number of each snapshot that was made, sent and laid out, and its layout.

    Args:
        folder: empty, for the project, the keys and a blob store.
        count: how many snapshots.
        limit: to which the worker's cache is kept, in bytes.
        seed: of the edits.
        place: of the worker's cache, by default in ``folder``; `disk` tells what it takes.
    """
    project = Project(folder / "project", seed, int(limit * SHARE))
    home = Home(keys=folder / "home" / "keys", cache=folder / "home" / "cache")
    app = Celery("shop", broker="memory://", set_as_current=False)
    kept = FolderStore(folder / "store")
    app.conf.autocelery_store = kept.url
    auto = Autocelery(app, top=project.top)
    terms = AgentTerms(
        parent=os.getpid(),
        folder=folder,
        home_keys=home.keys,
        home_worker=place or home.worker,
        store=kept.url,
        store_problem="",
        cache_max=limit,
        builds_environments=False,
        preload=(),
        host=WorkerTerms("rounds", {}, blocks_joins=False),
    )
    with _home(folder / "home"):
        preparer = Preparer(terms)
        tidier = Tidier(preparer)
        used = [preparer.using("nothing yet") for _ in range(IN_USE)]
        for each in used:
            each.__enter__()
        for number in range(count):
            project.edit()
            snapshot = auto.snapshot()
            using = preparer.using(snapshot.id)
            using.__enter__()
            order = preparer.order(snapshot.id, snapshot.key)
            used.append(using)
            used.pop(0).__exit__(None, None, None)
            tidier.wake()
            if number % SWEPT_EVERY == SWEPT_EVERY - 1:
                kept.sweep(SWEPT)
            yield number, Path(order.folder)
        preparer.tidy()
        app.close()


def disk(folder: Path) -> int:
    """Return the bytes of the files in ``folder``, each once however many names it has."""
    found: dict[int, int] = {}
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            found[status.st_ino] = status.st_size
    return sum(found.values())


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    before = os.environ.get("AUTOCELERY_HOME")
    os.environ["AUTOCELERY_HOME"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["AUTOCELERY_HOME"]
        else:
            os.environ["AUTOCELERY_HOME"] = before
