"""Short ways to make and collect trees in the tests of snapshots."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from autocelery._model import AppSource, Manifest, Root
from autocelery._snapshot import BlobCache, CollectedTree, ShipRules, StatMemory, collect, lay_out
from autocelery._snapshot.manifest import snapshot_id
from tests.waiting import wait_for

LIMIT = 100 * 2**20


def write(top: Path, **files: str | bytes) -> Path:
    """Write files whose names are given with ``__`` for a slash and ``_dot_`` for a dot."""
    for name, text in files.items():
        path = top / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return top


def git(top: Path, *arguments: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(
        ["git", *identity, *arguments], cwd=top, check=True, capture_output=True, env=environment, timeout=60
    )


def repository(top: Path) -> Path:
    top.mkdir(parents=True, exist_ok=True)
    git(top, "init", "-q")
    return top


def collected(top: Path, memory: StatMemory | None = None, limit: int = LIMIT) -> CollectedTree:
    return collect(top, memory=memory or StatMemory(), limit=limit, rules=ShipRules.read(top))


def paths(top: Path, memory: StatMemory | None = None) -> set[str]:
    """Return the paths that a collect of ``top`` ships."""
    return set(contents(collected(top, memory)))


def contents(tree: CollectedTree) -> dict[str, tuple[str, str]]:
    """Return (kind, digest or target) of every path in ``tree`` but its folders."""
    from autocelery._snapshot.tree import decode

    found: dict[str, tuple[str, str]] = {}
    pending = [("", tree.digest)]
    while pending:
        folder, digest = pending.pop()
        for entry in decode(tree.nodes[digest]):
            if entry.kind == "d":
                pending.append((f"{folder}{entry.name}/", entry.digest))
            else:
                found[folder + entry.name] = (entry.kind, entry.digest)
    return found


def manifest_of(*digests: str, import_paths: tuple[str, ...] = ("tree",)) -> Manifest:
    names = ["tree", *(f"root-{number}-x" for number in range(1, len(digests)))]
    roots = tuple(Root(name, digest) for name, digest in zip(names, digests, strict=True))
    return Manifest(roots, import_paths, "tree", "3.11", AppSource("proj.celery", "app"))


def laid_out(tree: CollectedTree, worker: Path) -> Path:
    """Lay ``tree`` out below ``worker`` and return the folder of its root."""
    cache = BlobCache(worker / "blobs", LIMIT)
    for digest in tree.sources:
        cache.add(digest, tree.read(digest) or b"")
    manifest = manifest_of(tree.digest)
    place = lay_out(
        manifest,
        snapshot_id(manifest),
        node=tree.nodes.__getitem__,
        blob=cache.get,
        folder=worker / "snapshots",
    )
    return place / "tree"


def settle(top: Path, memory: StatMemory) -> CollectedTree:
    """Collect until nothing is read again for being too fresh."""
    newest = max((os.lstat(path).st_ctime_ns for path in [top, *top.rglob("*")]), default=0)
    wait_for(lambda: time.time_ns() - newest > 50_000_000, what="the clock moves on")
    collected(top, memory)
    return collected(top, memory)
