"""From a snapshot's id to a folder that a host may run: verify, fetch, lay out, in that order."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any

from packaging.utils import canonicalize_name

from autocelery._blobs import BlobStore, open_store
from autocelery._config import Home
from autocelery._hosting.attaching import Attachments
from autocelery._hosting.claiming import Claim
from autocelery._hosting.environments import Chosen, Environments
from autocelery._hosting.estimates import Estimates
from autocelery._hosting.fetching import Fetcher
from autocelery._hosting.layouts import Layouts
from autocelery._hosting.terms import SOCKET_NAME, AgentTerms
from autocelery._hosting.unsealing import Unsealer
from autocelery._model import Manifest, Statement
from autocelery._signing import keys, statement
from autocelery._snapshot import lock as locks
from autocelery._snapshot.cache import BlobCache
from autocelery.errors import SnapshotIncomplete, SnapshotRevoked, StoreUnavailable
from autocelery_host.order import Order


class Preparer:
    """Owns the worker's cache folder: statements, and through `Layouts` the rest. Safe for threads.

    Raises:
        OSError: the folder cannot be used.
    """

    def __init__(self, terms: AgentTerms) -> None:
        self._terms = terms
        self._home = Home(keys=terms.home_keys, cache=terms.home_worker.parent)
        self._claim = Claim(terms.home_worker, terms.host.hostname)
        self.folder = base = self._claim.folder
        self._statements = base / "statements"
        self._statements.mkdir(parents=True, exist_ok=True, mode=0o700)
        cache = BlobCache(base / "blobs", terms.cache_max)
        self._users: dict[str, int] = {}
        self._layouts = Layouts(base, cache, self._users.keys)
        self.attachments = Attachments(self._home, cache, self._open_store, terms.store_problem)
        self.variables = Unsealer(self._home, cache, self._open_store, terms.store_problem)
        self._turns: dict[str, _Turn] = {}
        self._lock = threading.Lock()
        self._store: BlobStore | None = None
        self._environments = Environments(base / "environments", terms.cache_max, terms.builds_environments)
        self._estimates = Estimates(self._environments)

    @contextlib.contextmanager
    def using(self, snapshot: str) -> Iterator[None]:
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
                    self._turns.pop(snapshot, None)
                    self._environments.forget(snapshot)

    def order(self, snapshot: str, key: str, variables: str | None = None) -> Order:
        """Return what a host of ``snapshot`` is told, once it is verified, fetched and laid out.

        Args:
            snapshot: its id.
            key: whose statement over it counts.
            variables: the digest of the envelope with its variables, which nobody has looked into yet.

        Raises:
            SnapshotRefused: it is not trusted, expired, revoked, malformed or for another environment.
            StoreError: the store does not give it.
            DiskFull: there is no room to lay it out.
        """
        with self._lock:
            turn = self._turns.setdefault(snapshot, _Turn())
        with turn.taken_for(key):
            store = self._open_store()
            fetcher = Fetcher(snapshot, key, store, self._layouts.cache, self._terms.store_problem)
            said = self._verified(snapshot, key, fetcher)
            ready = self._layouts.get(
                snapshot, is_shared=self._users.get(snapshot, 0) > 1
            ) or self._layouts.make(
                snapshot,
                fetcher,
                lambda described: self._environments.check_python(
                    snapshot, described.python, has_lock=described.lock is not None
                ),
            )
            environment = self._environments.choose(ready.lock, ready.manifest.python)
            built = self._environments.build(environment, snapshot, ready.lock.source)
            if environment.pins:  # trust may have been withdrawn while it was built
                said = self._verified(snapshot, key, fetcher)
        source = ready.manifest.app
        return Order(
            snapshot=snapshot,
            key=key,
            folder=str(ready.folder),
            local_root=said.local_root,
            paths=ready.manifest.paths,
            cwd=ready.manifest.cwd,
            module=source.module,
            attribute=source.attribute,
            main=source.main,
            app_settings=dict(source.settings),
            packages=_packages(ready.manifest, environment),
            overlay=built.overlay,
            interpreter=built.interpreter,
            values=str(ready.values) if ready.values else None,
            compiled=str(self._layouts.compiled),
            agent=str(self._terms.folder / SOCKET_NAME),
            expires=said.expires + statement.CLOCK_SKEW,
            terms=self._terms.host,
            variables=variables,
        )

    def environment(self, lock: bytes, python: str) -> dict[str, Any]:
        """Return which environment a snapshot with ``lock`` gets, as `Estimates.told` does.

        Raises:
            SnapshotInvalid: the lock is malformed.
        """
        return self._estimates.told(locks.decode(lock), python)

    def revoke(self, snapshot: str, envelope: bytes) -> bool:
        """Keep a revocation that came from a caller; false if no trusted key made it, and it has no effect."""
        if not self._is_revocation(snapshot, envelope):
            return False
        self._keep(f"{snapshot}.revoked", envelope, {})
        return True

    def revoked(self, snapshots: Collection[str]) -> set[str]:
        """Return those of ``snapshots`` that were revoked, as far as the store and this worker know.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        store = self._open_store()
        if store is None or not snapshots:
            return set()
        found = store.get([f"{each}.revoked" for each in snapshots])
        return {
            snapshot
            for name, envelope in found.items()
            if self.revoke(snapshot := name.removesuffix(".revoked"), envelope)
        }

    def trusts(self, key: str) -> bool:
        """Whether snapshots that ``key`` signed may run here, as the trusted keys are now.

        Raises:
            AutoceleryError: they cannot be read.
        """
        return key in keys.trusted_keys(self._home)

    def tidy(self) -> None:
        """Remove what the latest few snapshots do not need."""
        self._layouts.tidy()
        self._environments.tidy()
        with self._lock:
            known = self._layouts.known() | self._users.keys()
        for path in self._statements.glob("*.sig"):
            if path.name.lstrip(".").partition(".")[0] not in known:
                path.unlink(missing_ok=True)

    def _verified(self, snapshot: str, key: str, fetcher: Fetcher) -> Statement:
        """Check signature, expiry and revocation; the store's word where it answers, else what is kept here."""
        name, revoked = f"{snapshot}.{key}.sig", f"{snapshot}.revoked"
        kept = {
            each: path.read_bytes() for each in (name, revoked) if (path := self._statements / each).exists()
        }
        try:
            stored = dict(fetcher.named([name, revoked]))
            entries = {**kept, **stored}
            if name not in entries:
                entries |= fetcher.healed([name])
        except StoreUnavailable:
            if name not in kept:
                raise
            stored, entries = {}, kept
        trusted = keys.trusted_keys(self._home)
        said = statement.verify(entries.get(name, b""), snapshot, trusted, time.time())
        self._keep(name, entries[name], kept)
        for envelope in {each[revoked] for each in (kept, stored) if revoked in each}:
            self.revoke(snapshot, envelope)
            statement.check_revocation(envelope, snapshot, trusted)
        return said

    def _is_revocation(self, snapshot: str, envelope: bytes) -> bool:
        try:
            statement.check_revocation(envelope, snapshot, keys.trusted_keys(self._home))
        except SnapshotRevoked:
            return True
        return False

    def _keep(self, name: str, content: bytes, kept: dict[str, bytes]) -> None:
        if kept.get(name) != content:
            scratch = self._statements / f".{name}.{os.getpid()}.{threading.get_ident()}"
            self._statements.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                scratch.write_bytes(content)
                scratch.replace(self._statements / name)
            finally:
                scratch.unlink(missing_ok=True)

    def _open_store(self) -> BlobStore | None:
        with self._lock:
            if self._store is None and self._terms.store:
                self._store = open_store(self._terms.store)
            return self._store


class _Turn:
    """Who prepares a snapshot, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, tuple[float, str]] = {}

    @contextlib.contextmanager
    def taken_for(self, key: str) -> Iterator[None]:
        """Wait for the turn; what nobody sent again for another, while this one waited, nobody sends again for it.

        Raises:
            SnapshotIncomplete: as for the other.
        """
        asked = time.monotonic()
        with self._lock:
            failed, reason = self._failed.get(key, (0.0, ""))
            if failed > asked:
                raise SnapshotIncomplete(reason)
            try:
                yield
            except SnapshotIncomplete as exc:
                self._failed[key] = (time.monotonic(), exc.message)
                raise


def _packages(described: Manifest, environment: Chosen) -> tuple[tuple[str, str, str, str | None], ...]:
    """Return what a host needs to tell which package it lacks; see `autocelery_host.importing.guard_packages`."""
    return tuple(
        (
            each.module,
            each.distribution,
            each.version,
            environment.versions.get(canonicalize_name(each.distribution)),
        )
        for each in described.packages
    )
