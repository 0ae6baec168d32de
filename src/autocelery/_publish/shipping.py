"""From the working tree as it is now to a snapshot that workers can fetch."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from autocelery import _config
from autocelery._blobs import BlobStore, needs, open_store, pack, store_url_for
from autocelery._celery import live_task
from autocelery._env.pins import pins_for
from autocelery._model import Manifest, Root, Snapshot
from autocelery._publish import locating
from autocelery._publish.healing import Healer
from autocelery._publish.packages import packages_for
from autocelery._publish.recent import RecentBlobs
from autocelery._publish.roots import Roots, roots_of
from autocelery._signing import keys, statement
from autocelery._snapshot import manifest as manifests
from autocelery._snapshot import tree as trees
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.collect import collect
from autocelery._snapshot.collected import CollectedTree
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.stat_memory import StatMemory
from autocelery.errors import EmptyTree, FileKeepsChanging

#: Seconds after which what the store is believed to hold is asked for again: below its lifetime of a week.
RENEWAL = 86_400
#: Bytes of what was sent last that are kept in memory, for a store that loses them.
RECENT = 16 * 2**20
#: How many times a tree that changes while it is sent is collected again.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Collected:
    """The working tree as it was found: what ``plan`` shows, and what is sent."""

    manifest: Manifest
    id: str
    trees: tuple[CollectedTree, ...]
    values: bytes | None

    def read(self, name: str) -> bytes | None:
        """Return the raw bytes of a blob of this snapshot; ``None`` if its file has changed since."""
        if name == self.id:
            return manifests.encode(self.manifest)
        if self.values is not None and name == self.manifest.values:
            return self.values
        for tree in self.trees:
            if name in tree.nodes or name in tree.sources:
                return tree.read(name)
        return None

    def everything(self) -> list[str]:
        """Return the names of all its blobs: files first, then folders, the manifest last."""
        files = [name for tree in self.trees for name in tree.sources]
        nodes = [name for tree in self.trees for name in tree.nodes]
        values = [self.manifest.values] if self.manifest.values else []
        return [*dict.fromkeys([*files, *nodes, *values]), self.id]


class Shipper:
    """Makes snapshots of one app's working tree and sends what its store lacks. Safe for threads."""

    def __init__(self, app: Celery, top: Path | None) -> None:
        self._app = app
        self._top = top
        self._lock = threading.RLock()
        self._memory: StatMemory | None = None
        self._store: BlobStore | None = None
        self._known: set[str] = set()
        self._recent = RecentBlobs(RECENT)
        self._asked = 0.0
        self._signed: dict[str, float] = {}
        self._latest: tuple[object, Collected] | None = None
        self._healer = Healer(self.requested, self._resend, self._answered)

    @property
    def top(self) -> Path:
        """The top of the working tree."""
        if self._top is None:
            self._top = locating.top_for(self._app)
        return self._top

    @property
    def store(self) -> BlobStore:
        """The blob store.

        Raises:
            StoreNotConfigured: neither the app nor the environment gives one.
        """
        if self._store is None:
            self._store = open_store(store_url_for(self._app))
        return self._store

    def ship(self, values: bytes | None = None) -> Snapshot:
        """Return the snapshot of the tree as it is now, once workers can fetch it.

        Args:
            values: the blob with functions that are in no module.

        Raises:
            SnapshotError: the tree cannot be shipped; nothing was sent.
            StoreError: the store does not take it.
        """
        with self._lock:
            for _ in range(ATTEMPTS):
                collected = self.collect(values)
                if self._sent(collected):
                    break
            else:
                raise FileKeepsChanging(
                    f"Files of {self.top} changed each of the {ATTEMPTS} times they were about to be sent. "
                    "Wait for what writes them, or leave them out: [tool.autocelery] exclude in pyproject.toml."
                )
            live_task.made_here.add(collected.id)
            self._healer.watch(collected)
            return Snapshot(collected.id, self._key().id)

    def collect(self, values: bytes | None = None) -> Collected:
        """Return the tree as it is now; nothing is sent.

        Raises:
            SnapshotError: the tree cannot be shipped.
        """
        with self._lock:
            roots = roots_of(self.top)
            found = tuple(self._collect_root(root.top, values) for root in roots.roots)
            digest = digest_of(values) if values is not None else None
            made_of = (roots, tuple(tree.digest for tree in found), digest)
            if self._latest is not None and self._latest[0] == made_of:
                return self._latest[1]
            described = self._described(roots, found, digest)
            collected = Collected(described, manifests.snapshot_id(described), found, values)
            self._latest = (made_of, collected)
            return collected

    def lacking(self, collected: Collected) -> list[str]:
        """Return which blobs of ``collected`` the store lacks, asking folder by folder from the top."""
        lacking = [collected.id] if self.store.missing([collected.id]) else []
        asked = [root.tree for root in collected.manifest.roots] if lacking else []
        if lacking and collected.manifest.values:
            asked.append(collected.manifest.values)
        while asked:
            missing = self.store.missing([name for name in asked if name not in self._known])
            lacking += sorted(missing)
            asked = sorted({child for name in missing for child in _children(collected, name)})
        return lacking

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

    def _described(self, roots: Roots, found: tuple[CollectedTree, ...], values: str | None) -> Manifest:
        shipped = {root.name: tree for root, tree in zip(roots.roots, found, strict=True)}
        imports = frozenset().union(*(tree.imports for tree in found))
        provided = frozenset().union(*(tree.modules for tree in found))
        packages = packages_for(imports, provided)
        wants_own = ShipRules.read(self.top).environment == "build"
        pins = pins_for({each.distribution for each in packages}) if wants_own else ()
        return Manifest(
            roots=tuple(Root(root.name, tree.digest) for root, tree in zip(roots.roots, found, strict=True)),
            paths=tuple(path for path in roots.paths if _ships(shipped, path)),
            cwd=_nearest(shipped, roots.cwd),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
            app=locating.source_of(self._app),
            packages=packages,
            values=values,
            pins=pins,
        )

    def _sent(self, collected: Collected) -> bool:
        """Send what is missing; false where a file changed before it was read."""
        if time.monotonic() - self._asked > RENEWAL:
            self._known.clear()
            self._signed.clear()
            self._asked = time.monotonic()
        now = time.time()
        if collected.id in self._signed and now < self._signed[collected.id]:
            return True
        lacking = self._unknown(collected) if self._known else self.lacking(collected)
        contents = _read(collected, lacking)
        if contents is None:
            return False
        self.store.put({**contents, **self._statement(collected, now)})
        self._recent.add(contents)
        self._known.update(collected.everything())
        return True

    def _unknown(self, collected: Collected) -> list[str]:
        return [name for name in collected.everything() if name not in self._known]

    def _statement(self, collected: Collected, now: float) -> dict[str, bytes]:
        key = self._key()
        days = _config.count_setting("AUTOCELERY_SIGNATURE_DAYS", _config.DEFAULT_SIGNATURE_DAYS)
        envelope = statement.sign(key, collected.id, int(now), int(now + days * 86_400), str(self.top))
        self._signed[collected.id] = now + days * 86_400 / 2
        return {f"{collected.id}.{key.id}.sig": envelope}

    def key_id(self) -> str:
        """Return the id of the key that this user signs with, made on first use."""
        return self._key().id

    def _key(self) -> keys.SigningKey:
        return keys.own_key(_config.home())

    def _resend(self, collected: Collected, names: Collection[str]) -> None:
        """Send again what a worker did not find; what cannot be read any more is left out, and its call fails.

        Who lacks the statement or a folder lacks more, and would ask level by level.
        """
        signature = f"{collected.id}.{self._key().id}.sig"
        folders = {collected.id, *(each for tree in collected.trees for each in tree.nodes)}
        wanted = {name for name in names if not name.endswith(".sig")}
        if signature in names or not folders.isdisjoint(wanted):
            wanted |= folders
        found = {name: blob for name in wanted if (blob := self._packed(collected, name)) is not None}
        if signature in names:
            found |= self._statement(collected, time.time())
        if found:
            self.store.put(found)

    def _packed(self, collected: Collected, name: str) -> bytes | None:
        raw = collected.read(name)
        return pack(raw) if raw is not None else self._recent.get(name)

    def requested(self) -> Mapping[str, needs.Need]:
        """Return what workers ask this author for, by the name of the entry in which they do."""
        asked = self.store.get(needs.slots(self._key().id)).items()
        return {name: need for name, content in asked if (need := needs.decode(content)) is not None}

    def _answered(self, names: Collection[str]) -> None:
        self.store.discard(names)


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


def _children(collected: Collected, name: str) -> list[str]:
    for tree in collected.trees:
        if name in tree.nodes:
            return [each.digest for each in trees.decode(tree.nodes[name]) if each.kind != trees.LINK]
    return []


def _read(collected: Collected, names: Iterable[str]) -> dict[str, bytes] | None:
    contents = {}
    for name in names:
        raw = collected.read(name)
        if raw is None:
            return None
        contents[name] = pack(raw)
    return contents
