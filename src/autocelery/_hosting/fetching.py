"""How the agent gets a snapshot's bytes: from its cache, else from the store, else by asking who sent it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from autocelery._blobs import BlobStore, needs
from autocelery._blobs.packing import unpack
from autocelery._snapshot.cache import BlobCache
from autocelery.errors import SnapshotIncomplete, SnapshotInvalid, StoreError, StoreUnavailable

logger = logging.getLogger(__name__)

#: Seconds that a caller has to send again what the store lost (DESIGN.md, guarantee 4: within 5 seconds).
HEALING_SECONDS = 4.0
#: The least that each further part of a snapshot is waited for, once it has answered.
HEALING_GRACE = 1.0
HEALING_INTERVAL = 0.1
#: Largest manifest or tree node, in bytes: one folder of 100,000 files is 10 MB.
LARGEST_NODE = 64 * 2**20


class Fetcher:
    """Gets blobs for one snapshot of one author. ``store`` is ``None`` where the worker has none: the cache serves."""

    def __init__(
        self, snapshot: str, key: str, store: BlobStore | None, cache: BlobCache, no_store: str
    ) -> None:
        self._snapshot = snapshot
        self._key = key
        self._store = store
        self._cache = cache
        self._no_store = no_store
        self._healing_until = 0.0
        #: Digests that must stay in the cache until the snapshot is laid out.
        self.pins: set[str] = set()

    def named(self, names: Collection[str]) -> Mapping[str, bytes]:
        """Return the named entries (statements, revocations) that the store has.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        if self._store is None:
            raise StoreUnavailable(self._no_store)
        return self._store.get(names)

    def nodes(self, digests: Collection[str]) -> dict[str, bytes]:
        """Return the raw bytes of manifests or tree nodes.

        Raises:
            SnapshotIncomplete: some are nowhere, and nobody sent them again in time.
        """
        paths = self.files(dict.fromkeys(digests, LARGEST_NODE), exact=False)
        return {digest: path.read_bytes() for digest, path in paths.items()}

    def files(self, sizes: Mapping[str, int], exact: bool = True) -> dict[str, Path]:
        """Return the cached files of the blobs in ``sizes``, fetched where the cache lacks them.

        Args:
            sizes: bytes, by digest: exactly so many, or at most.
            exact: which of the two.

        Raises:
            SnapshotIncomplete: some are nowhere, and nobody sent them again in time.
        """
        self.pins.update(sizes)
        found = {digest: path for digest in sizes if (path := self._cache.get(digest))}
        lacking = [digest for digest in sizes if digest not in found]
        if not lacking:
            return found
        for digest, stored in self.healed(lacking).items():
            found[digest] = self._kept(digest, stored, sizes[digest], exact)
        return found

    def _kept(self, digest: str, stored: bytes, size: int, exact: bool) -> Path:
        try:
            return self._cache.add(digest, unpack(stored, size if exact else None, size))
        except SnapshotInvalid:
            with contextlib.suppress(StoreError):  # so that whoever ships it again finds it missing
                if self._store is not None:
                    self._store.discard([digest])
            raise

    def healed(self, names: Collection[str]) -> dict[str, bytes]:
        """Return entries that must be in the store, asking the caller for those that are not.

        Raises:
            SnapshotIncomplete: nobody sent them again in time.
            StoreUnavailable: the store cannot be reached.
        """
        if self._store is None:
            raise StoreUnavailable(self._no_store)
        found = self._store.get(names)
        if len(found) == len(set(names)):
            return found
        now = time.monotonic()
        self._healing_until = self._healing_until or now + HEALING_SECONDS
        deadline = max(self._healing_until, now + HEALING_GRACE)
        used: set[str] = set()
        try:
            while lacking := tuple(sorted(set(names) - found.keys())):
                if time.monotonic() > deadline:
                    raise self._incomplete(lacking)
                used.add(slot := needs.any_slot(self._key))
                self._store.put({slot: needs.Need(self._snapshot, lacking).encode()})
                time.sleep(HEALING_INTERVAL)
                found |= self._store.get(lacking)
        finally:
            self._store.discard(used)
        logger.info("Snapshot %s: what the store had lost was sent again.", self._snapshot[:12])
        return found

    def _incomplete(self, lacking: Collection[str]) -> SnapshotIncomplete:
        where = self._store.url if self._store else "the store"
        parts = "A part" if len(lacking) == 1 else f"{len(lacking)} parts"
        return SnapshotIncomplete(
            f"{parts} of snapshot {self._snapshot[:12]} cannot be found in {where}, which was wiped or has evicted "
            "what it held, and no caller was there to send it again. Send the call again from where its code is."
        )
