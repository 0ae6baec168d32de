"""The working tree as it is now, described by a manifest."""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from celery import Celery

from autocelery import _config
from autocelery._env.pins import runtime_names
from autocelery._model import Lock, Manifest, Package, Root
from autocelery._publish import locating
from autocelery._publish.needing import Needed, Needer, at_their_versions
from autocelery._publish.packages import packages_for
from autocelery._publish.roots import Roots, roots_of
from autocelery._publish.transfers import Bar
from autocelery._publish.transports import transports_of
from autocelery._snapshot import lock as locks
from autocelery._snapshot import manifest as manifests
from autocelery._snapshot import tree as trees
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.collect import collect
from autocelery._snapshot.collected import CollectedTree, module_name
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.stat_memory import StatMemory
from autocelery.errors import EmptyTree


@dataclass(frozen=True, slots=True)
class Collected:
    """The working tree as it was found: what ``plan`` shows, and what is sent.

    ``roots`` says where on this machine the trees are. ``extras`` are blobs that are no part
    of a tree, by their digests: values and lock. ``needed`` is how the lock came about.
    """

    manifest: Manifest
    id: str
    trees: tuple[CollectedTree, ...]
    roots: Roots
    extras: Mapping[str, bytes] = field(default_factory=dict)
    needed: Needed = field(default_factory=Needed)

    @property
    def lock(self) -> Lock:
        """The packages it needs; none where the worker's own have to do."""
        name = self.manifest.lock
        return locks.decode(self.extras[name]) if name else Lock()

    def read(self, name: str) -> bytes | None:
        """Return the raw bytes of a blob of this snapshot; ``None`` if its file has changed since."""
        if name == self.id:
            return manifests.encode(self.manifest)
        if name in self.extras:
            return self.extras[name]
        found = (raw for tree in self.trees if (raw := tree.read(name)) is not None)
        return next(found, None)

    def path_of(self, name: str) -> str | None:
        """Return the file that a blob of this snapshot is of, or a part of; ``None`` if it is of none."""
        return next((path for tree in self.trees if (path := tree.path_of(name)) is not None), None)

    def size_of(self, name: str) -> int:
        """Return the bytes of a blob of this snapshot; 0 if its file has gone since."""
        if name == self.id or name in self.extras:
            return len(self.read(name) or b"")
        return next((size for tree in self.trees if (size := tree.size_of(name)) is not None), 0)

    def is_chunk(self, name: str) -> bool:
        """Whether a blob is a part of a large file."""
        return any(tree.chunked.place(name) is not None for tree in self.trees)

    def everything(self, sent: Container[str] = ()) -> list[str]:
        """Return the names of all its blobs: files first, then folders, the manifest last.

        Args:
            sent: chunk lists of which the chunks are left out.
        """
        files = [name for tree in self.trees for name in tree.blobs(sent)]
        nodes = [name for tree in self.trees for name in tree.nodes]
        return [*dict.fromkeys([*files, *nodes, *self.extras]), self.id]

    def below(self, name: str) -> list[str]:
        """Return what a blob names: the manifest its roots and extras, a folder its entries, a list its chunks."""
        if name == self.id:
            return [*(root.tree for root in self.manifest.roots), *self.extras]
        return next((below for tree in self.trees if (below := tree.below(name)) is not None), [])


class Collector:
    """Finds what one app's working tree is now. Safe for threads."""

    def __init__(self, app: Celery, top: Path | None) -> None:
        self._app = app
        self._top = top
        self._lock = threading.RLock()
        self._memory: StatMemory | None = None
        self._needer: Needer | None = None
        self._latest: tuple[object, Collected] | None = None

    @property
    def top(self) -> Path:
        """The top of the working tree."""
        if self._top is None:
            self._top = locating.top_for(self._app)
        return self._top

    def collect(self, values: bytes | None = None, asked: tuple[str, ...] = ()) -> Collected:
        """Return the tree as it is now; nothing is sent.

        Args:
            values: the blob with functions that are in no module.
            asked: the packages that the call asks for, as requirements.

        Raises:
            SnapshotError: the tree cannot be shipped, or its lock is no good.
        """
        with self._lock:
            tree = self._collect_root(self.top, values)
            roots = roots_of(self.top)
            beside = self._needed(_packages(_inside(roots), (tree,)), asked=asked)
            if beside.folders:
                roots = roots_of(self.top, [folder for _, folder in beside.folders])
            outside = [root.top for root in roots.roots[1:]]
            found = (tree, *(self._collect_root(each, values) for each in outside))
            packages = _packages(roots, found)
            needed = self._needed(packages, outside, asked) if outside else beside
            rules = ShipRules.read(self.top)
            made_of = (
                roots,
                tuple(each.digest for each in found),
                packages,
                needed,
                rules.environment,
                values,
            )
            if self._latest is not None and self._latest[0] == made_of:
                return self._latest[1]
            collected = self._described(roots, found, packages, values, needed)
            self._latest = (made_of, collected)
            return collected

    def _needed(
        self, packages: tuple[Package, ...], outside: Collection[Path] = (), asked: tuple[str, ...] = ()
    ) -> Needed:
        if self._needer is None:
            self._needer = Needer(self.top)
        runtime = runtime_names(transports_of(self._app))
        rules = ShipRules.read(self.top)
        return self._needer.needed(locating.start_for(self._app), rules, packages, outside, runtime, asked)

    def _collect_root(self, top: Path, values: bytes | None) -> CollectedTree:
        if self._memory is None:
            self._memory = StatMemory(_config.home().client / "trees")
        limit = _config.size_setting("AUTOCELERY_TREE_MAX", _config.DEFAULT_TREE_MAX)
        try:
            with Bar("reading data files") as bar:
                return collect(
                    top, memory=self._memory, limit=limit, rules=ShipRules.read(top), told=bar.show
                )
        except EmptyTree:
            if values is None:
                raise
            nothing = trees.encode([])
            return CollectedTree(
                digest_of(nothing), 0, 0, {digest_of(nothing): nothing}, {}, frozenset(), frozenset()
            )

    def _lock_of(self, needed: Needed) -> bytes | None:
        environment = ShipRules.read(self.top).environment
        if environment == "worker":
            return None
        return locks.encode(
            Lock(needed.pins, needed.source, environment == "own", needed.runtime, needed.asked)
        )

    def _described(
        self,
        roots: Roots,
        found: tuple[CollectedTree, ...],
        packages: tuple[Package, ...],
        values: bytes | None,
        needed: Needed,
    ) -> Collected:
        shipped = {root.name: tree for root, tree in zip(roots.roots, found, strict=True)}
        lock = self._lock_of(needed)
        extras = {digest_of(raw): raw for raw in (values, lock) if raw is not None}
        described = Manifest(
            roots=tuple(Root(name, tree.digest) for name, tree in shipped.items()),
            paths=tuple(path for path in roots.paths if _ships(shipped, path)),
            cwd=_nearest(shipped, roots.cwd),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            app=locating.source_of(self._app),
            packages=at_their_versions(packages, needed.pins),
            values=None if values is None else digest_of(values),
            lock=None if lock is None else digest_of(lock),
        )
        return Collected(described, manifests.snapshot_id(described), found, roots, extras, needed)


def _inside(roots: Roots) -> Roots:
    """Return the part of it that is the working tree."""
    tree = roots.roots[0].name
    return Roots(
        roots.roots[:1], tuple(path for path in roots.paths if path.split("/")[0] == tree), roots.cwd
    )


def _packages(roots: Roots, found: tuple[CollectedTree, ...]) -> tuple[Package, ...]:
    imports = frozenset().union(*(tree.imports for tree in found))
    shipped = {root.name: tree for root, tree in zip(roots.roots, found, strict=False)}
    provided = frozenset().union(*(tree.modules for tree in found))
    paths = [path for path in roots.paths if path.partition("/")[0] in shipped]
    return packages_for(imports, provided.union(*(_modules_at(shipped, path) for path in paths)))


def _modules_at(shipped: Mapping[str, CollectedTree], path: str) -> frozenset[str]:
    """Return what can be imported from the folder ``path`` of the layout, as ``tree/src``; no namespace packages."""
    root, *names = path.split("/")
    tree, digest = shipped[root], shipped[root].digest
    for name in names:
        found = {each.name: each for each in trees.decode(tree.nodes[digest])}.get(name)
        if found is None or found.kind != trees.FOLDER:
            return frozenset()
        digest = found.digest
    entries = trees.decode(tree.nodes[digest])
    packages = (each for each in entries if each.kind == trees.FOLDER and each.name.isidentifier())
    files = (module_name(each.name) for each in entries if each.kind != trees.FOLDER)
    real = (
        each.name
        for each in packages
        if any(inside.name.startswith("__init__.") for inside in trees.decode(tree.nodes[each.digest]))
    )
    return frozenset(name for name in (*files, *real) if name)


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
