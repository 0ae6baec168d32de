"""The working tree as it is now, described by a manifest."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from celery import Celery

from autocelery import _config
from autocelery._env.pins import pins_for
from autocelery._model import Manifest, Package, Pin, Root
from autocelery._publish import locating
from autocelery._publish.packages import packages_for
from autocelery._publish.roots import Roots, roots_of
from autocelery._snapshot import lock as locks
from autocelery._snapshot import manifest as manifests
from autocelery._snapshot import tree as trees
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.collect import collect
from autocelery._snapshot.collected import CollectedTree
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.stat_memory import StatMemory
from autocelery.errors import EmptyTree


@dataclass(frozen=True, slots=True)
class Collected:
    """The working tree as it was found: what ``plan`` shows, and what is sent.

    ``extras`` are blobs that are no part of a tree, by their digests: values and lock.
    """

    manifest: Manifest
    id: str
    trees: tuple[CollectedTree, ...]
    extras: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def pins(self) -> tuple[Pin, ...]:
        """What its lock holds; nothing without one."""
        lock = self.manifest.lock
        return locks.decode(self.extras[lock]) if lock else ()

    def read(self, name: str) -> bytes | None:
        """Return the raw bytes of a blob of this snapshot; ``None`` if its file has changed since."""
        if name == self.id:
            return manifests.encode(self.manifest)
        if name in self.extras:
            return self.extras[name]
        for tree in self.trees:
            if name in tree.nodes or name in tree.sources:
                return tree.read(name)
        return None

    def everything(self) -> list[str]:
        """Return the names of all its blobs: files first, then folders, the manifest last."""
        files = [name for tree in self.trees for name in tree.sources]
        nodes = [name for tree in self.trees for name in tree.nodes]
        return [*dict.fromkeys([*files, *nodes, *self.extras]), self.id]

    def below(self, name: str) -> list[str]:
        """Return what the blob ``name`` names: the manifest its roots and extras, a folder its entries."""
        if name == self.id:
            return [*(root.tree for root in self.manifest.roots), *self.extras]
        for tree in self.trees:
            if name in tree.nodes:
                return [each.digest for each in trees.decode(tree.nodes[name]) if each.kind != trees.LINK]
        return []


class Collector:
    """Finds what one app's working tree is now. Safe for threads."""

    def __init__(self, app: Celery, top: Path | None) -> None:
        self._app = app
        self._top = top
        self._lock = threading.RLock()
        self._memory: StatMemory | None = None
        self._latest: tuple[object, Collected] | None = None

    @property
    def top(self) -> Path:
        """The top of the working tree."""
        if self._top is None:
            self._top = locating.top_for(self._app)
        return self._top

    def collect(self, values: bytes | None = None) -> Collected:
        """Return the tree as it is now; nothing is sent.

        Args:
            values: the blob with functions that are in no module.

        Raises:
            SnapshotError: the tree cannot be shipped.
        """
        with self._lock:
            roots = roots_of(self.top)
            found = tuple(self._collect_root(root.top, values) for root in roots.roots)
            packages = _packages(found)
            lock = self._lock_of(packages)
            made_of = (roots, tuple(tree.digest for tree in found), packages, lock, values)
            if self._latest is not None and self._latest[0] == made_of:
                return self._latest[1]
            collected = self._described(roots, found, packages, values, lock)
            self._latest = (made_of, collected)
            return collected

    def _collect_root(self, top: Path, values: bytes | None) -> CollectedTree:
        if self._memory is None:
            self._memory = StatMemory(_config.home().client / "trees")
        limit = _config.size_setting("AUTOCELERY_TREE_MAX", _config.DEFAULT_TREE_MAX)
        try:
            return collect(top, memory=self._memory, limit=limit, rules=ShipRules.read(top))
        except EmptyTree:
            if values is None:
                raise
            nothing = trees.encode([])
            return CollectedTree(
                digest_of(nothing), 0, 0, {digest_of(nothing): nothing}, {}, frozenset(), frozenset()
            )

    def _lock_of(self, packages: tuple[Package, ...]) -> bytes | None:
        if ShipRules.read(self.top).environment == "worker":
            return None
        pins = pins_for({each.distribution for each in packages})
        return locks.encode(pins) if pins else None

    def _described(
        self,
        roots: Roots,
        found: tuple[CollectedTree, ...],
        packages: tuple[Package, ...],
        values: bytes | None,
        lock: bytes | None,
    ) -> Collected:
        shipped = {root.name: tree for root, tree in zip(roots.roots, found, strict=True)}
        extras = {digest_of(raw): raw for raw in (values, lock) if raw is not None}
        described = Manifest(
            roots=tuple(Root(name, tree.digest) for name, tree in shipped.items()),
            paths=tuple(path for path in roots.paths if _ships(shipped, path)),
            cwd=_nearest(shipped, roots.cwd),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            app=locating.source_of(self._app),
            packages=packages,
            values=None if values is None else digest_of(values),
            lock=None if lock is None else digest_of(lock),
        )
        return Collected(described, manifests.snapshot_id(described), found, extras)


def _packages(found: tuple[CollectedTree, ...]) -> tuple[Package, ...]:
    imports = frozenset().union(*(tree.imports for tree in found))
    provided = frozenset().union(*(tree.modules for tree in found))
    return packages_for(imports, provided)


def _ships(shipped: Mapping[str, CollectedTree], path: str) -> bool:
    """Whether the folder ``path`` of the layout is part of what is shipped: an empty or ignored one is not."""
    root, *names = path.split("/")
    digest = shipped[root].digest
    for name in names:
        entries = trees.decode(shipped[root].nodes[digest])
        entry = next((each for each in entries if each.name == name), None)
        if entry is None or entry.kind not in (trees.FOLDER, trees.LINK):
            return False
        if entry.kind == trees.LINK:  # the worker follows it, and refuses one that leads nowhere
            return True
        digest = entry.digest
    return True


def _nearest(shipped: Mapping[str, CollectedTree], path: str) -> str:
    while not _ships(shipped, path):
        path = path.rpartition("/")[0]
    return path
