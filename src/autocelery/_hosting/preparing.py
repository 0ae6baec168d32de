"""From a snapshot's id to a folder that a host may run: verify, fetch, lay out, in that order."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import os
import shutil
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from autocelery._blobs import BlobStore, open_store
from autocelery._config import Home
from autocelery._hosting.claiming import Claim
from autocelery._hosting.fetching import Fetcher
from autocelery._hosting.terms import AgentTerms
from autocelery._model import Manifest, Statement
from autocelery._signing import keys, statement
from autocelery._snapshot import layout, manifest, trees
from autocelery._snapshot.cache import BlobCache
from autocelery.errors import PythonMismatch, StoreUnavailable
from autocelery_host.order import Order

logger = logging.getLogger(__name__)

#: How many snapshots stay laid out when no host runs them.
KEPT_LAYOUTS = 16


@dataclass(frozen=True, slots=True)
class Prepared:
    """A snapshot that is verified and laid out."""

    manifest: Manifest
    statement: Statement
    folder: Path
    values: Path | None
    digests: frozenset[str]


class Preparer:
    """Owns the worker's caches: blobs, layouts, statements, compiled code."""

    def __init__(self, terms: AgentTerms) -> None:
        self._terms = terms
        self._home = Home(keys=terms.home_keys, cache=terms.home_worker.parent)
        self._claim = Claim(terms.home_worker, terms.host.hostname)
        self.folder = base = self._claim.folder
        self._snapshots, self._statements, self.compiled = (
            base / name for name in ("snapshots", "statements", "compiled")
        )
        for folder in (self._snapshots, self._statements, self.compiled):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.cache = BlobCache(base / "blobs", terms.cache_max)
        self._ready: OrderedDict[str, Prepared] = OrderedDict()
        self._users: dict[str, int] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._store: BlobStore | None = None
        self._versions: dict[str, str | None] = {}

    @contextlib.contextmanager
    def using(self, snapshot: str):  # type: ignore[no-untyped-def]
        """Keep the layout of ``snapshot`` while the block runs."""
        with self._lock:
            self._users[snapshot] = self._users.get(snapshot, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._users[snapshot] -= 1
                if not self._users[snapshot]:
                    del self._users[snapshot]
            self._tidy()

    def order(self, snapshot: str, key: str) -> Order:
        """Return what a host of ``snapshot`` is told, once it is verified, fetched and laid out.

        Raises:
            SnapshotRefused: it is not trusted, expired, revoked, malformed or for another environment.
            StoreError: the store does not give it.
            DiskFull: there is no room to lay it out.
        """
        with self._lock:
            lock = self._locks.setdefault(snapshot, threading.Lock())
        with lock:
            prepared = self._prepared(snapshot, key)
        source = prepared.manifest.app
        return Order(
            snapshot=snapshot,
            key=key,
            folder=str(prepared.folder),
            local_root=prepared.statement.local_root,
            paths=prepared.manifest.paths,
            cwd=prepared.manifest.cwd,
            module=source.module,
            attribute=source.attribute,
            main=source.main,
            app_settings=dict(source.settings),
            packages=self._packages(prepared.manifest),
            values=str(prepared.values) if prepared.values else None,
            compiled=str(self.compiled),
            terms=self._terms.host,
        )

    def _prepared(self, snapshot: str, key: str) -> Prepared:
        fetcher = Fetcher(snapshot, self._open_store(), self.cache, self._terms.store_problem)
        said = self._verified(snapshot, key, fetcher)
        ready = self._ready.get(snapshot)
        if ready is None or not ready.folder.exists():
            ready = self._laid_out(snapshot, said, fetcher)
        with self._lock:
            self._ready[snapshot] = ready
            self._ready.move_to_end(snapshot)
        return Prepared(ready.manifest, said, ready.folder, ready.values, ready.digests)

    def _verified(self, snapshot: str, key: str, fetcher: Fetcher) -> Statement:
        """Check signature, expiry and revocation; the store's word where it answers, else what is kept here."""
        name, revoked = f"{snapshot}.{key}.sig", f"{snapshot}.revoked"
        kept = {
            each: path.read_bytes() for each in (name, revoked) if (path := self._statements / each).exists()
        }
        try:
            entries = {**kept, **fetcher.named([name, revoked])}
            if name not in entries:
                entries |= fetcher.healed([name])
        except StoreUnavailable:
            if name not in kept:
                raise
            entries = kept
        trusted = keys.trusted_keys(self._home)
        said = statement.verify(entries.get(name, b""), snapshot, trusted, time.time())
        self._keep(name, entries[name], kept)
        if revoked in entries:
            self._keep(revoked, entries[revoked], kept)
            statement.check_revocation(entries[revoked], snapshot, trusted)
        return said

    def _keep(self, name: str, content: bytes, kept: dict[str, bytes]) -> None:
        if kept.get(name) != content:
            scratch = self._statements / f".{name}.{os.getpid()}.{threading.get_ident()}"
            scratch.write_bytes(content)
            scratch.replace(self._statements / name)

    def _laid_out(self, snapshot: str, said: Statement, fetcher: Fetcher) -> Prepared:
        raw = fetcher.nodes([snapshot])[snapshot]
        described = manifest.decode(raw)
        _check_python(snapshot, described.python)
        nodes: dict[str, bytes] = {}
        blobs: dict[str, Path] = {}
        for level in trees.walk([root.tree for root in described.roots], fetcher.nodes):
            nodes |= level.nodes
            blobs |= fetcher.files(level.blobs)
        values = (
            fetcher.files({described.values: 2**30}, exact=False)[described.values]
            if described.values
            else None
        )
        folder = layout.lay_out(
            described,
            snapshot,
            node=nodes.__getitem__,
            blob=blobs.__getitem__,
            folder=self._snapshots,
        )
        digests = frozenset({snapshot, *nodes, *([described.values] if described.values else [])})
        return Prepared(described, said, folder, values, digests)

    def _packages(self, described: Manifest) -> tuple[tuple[str, str, str, str | None], ...]:
        return tuple(
            (each.module, each.distribution, each.version, self._installed(each.distribution))
            for each in described.packages
        )

    def _installed(self, distribution: str) -> str | None:
        if distribution not in self._versions:
            try:
                self._versions[distribution] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                return None
        return self._versions[distribution]

    def _open_store(self) -> BlobStore | None:
        if self._store is None and self._terms.store:
            self._store = open_store(self._terms.store)
        return self._store

    def revoke(self, snapshot: str, envelope: bytes) -> None:
        """Keep a revocation that came from a caller, if a trusted key made it.

        Raises:
            SnapshotRevoked: it holds, and is kept now.
        """
        self._keep(f"{snapshot}.revoked", envelope, {})
        statement.check_revocation(envelope, snapshot, keys.trusted_keys(self._home))
        (self._statements / f"{snapshot}.revoked").unlink()

    def _tidy(self) -> None:
        """Remove layouts beyond the latest few that no host runs, and the blobs that only they needed."""
        with self._lock:
            idle = [each for each in self._ready if each not in self._users]
            gone = [self._ready.pop(each) for each in idle[: max(0, len(self._ready) - KEPT_LAYOUTS)]]
            in_use = {digest for each in self._ready.values() for digest in each.digests}
            for each in gone:
                self._locks.pop(each.statement.snapshot, None)
        for each in gone:
            _remove(each.folder)
            for path in self._statements.glob(f"{each.statement.snapshot}.*.sig"):
                path.unlink(missing_ok=True)
        if gone:
            self.cache.sweep(in_use)
            self._forget_compiled()
        self.cache.evict(in_use)

    def _forget_compiled(self) -> None:
        for each in self.compiled.iterdir():
            if self.cache.get(each.name.partition(".")[0]) is None:
                each.unlink(missing_ok=True)


def _check_python(snapshot: str, needed: str) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if needed != here:
        raise PythonMismatch(
            f"Snapshot {snapshot[:12]} was made with Python {needed}, and this worker runs {here}. "
            f"Call from a Python {here}, or route the call to a worker that runs {needed}."
        )


def _remove(folder: Path) -> None:
    """Remove a layout, whose folders are read-only."""
    scratch = folder.with_name(f".gone-{folder.name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        folder.rename(scratch)
        for parent, _, _ in os.walk(scratch):
            os.chmod(parent, 0o700)
        shutil.rmtree(scratch, ignore_errors=True)
