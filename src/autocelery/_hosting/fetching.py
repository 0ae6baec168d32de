"""How the agent gets a snapshot's bytes: from its cache, else from the store, else by asking who sent it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from autocelery._blobs import BlobStore, needs
from autocelery._blobs.packing import unpack
from autocelery._snapshot import chunk_list
from autocelery._snapshot.assembling import AT_ONCE, assemble
from autocelery._snapshot.cache import BlobCache
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.chunk_list import Chunk
from autocelery.errors import SnapshotIncomplete, SnapshotInvalid, StoreError, StoreUnavailable

logger = logging.getLogger(__name__)

#: Seconds that a caller has to send again what the store lost (DESIGN.md, guarantee 4: within 5 seconds).
HEALING_SECONDS = 4.0
#: The least that each further part of a snapshot is waited for, once it has answered.
HEALING_GRACE = 1.0
HEALING_INTERVAL = 0.1
#: Largest manifest, tree node or chunk list, in bytes: one folder of 100,000 files is 10 MB.
LARGEST_NODE = 64 * 2**20
#: A fetch of so many bytes is told of in the log.
TOLD = 16 * 2**20

T = TypeVar("T")
_NONE: Mapping[str, str] = MappingProxyType({})


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
        self._fetched = 0
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

    def nodes(self, digests: Collection[str], largest: int = LARGEST_NODE) -> dict[str, bytes]:
        """Return the raw bytes of blobs whose size nobody says: manifests, tree nodes, variables.

        Args:
            digests: theirs.
            largest: bytes that each may have.

        Raises:
            SnapshotIncomplete: some are nowhere, and nobody sent them again in time.
        """
        paths = self.files(dict.fromkeys(digests, largest), exact=False)
        return {digest: path.read_bytes() for digest, path in paths.items()}

    def files(
        self, sizes: Mapping[str, int], exact: bool = True, chunked: Mapping[str, str] = _NONE
    ) -> dict[str, Path]:
        """Return the cached files of the blobs in ``sizes``, fetched where the cache lacks them.

        Args:
            sizes: bytes, by digest: exactly so many, or at most.
            exact: which of the two.
            chunked: the digests of the chunk lists of those that are cut, by their own.

        Raises:
            SnapshotIncomplete: some are nowhere, and nobody sent them again in time.
            DiskFull: there is no room.
        """
        self.pins.update(sizes)
        found = {digest: path for digest in sizes if (path := self._cache.get(digest))}
        lacking = {digest: size for digest, size in sizes.items() if digest not in found}
        if not lacking:
            return found
        if not exact:
            return found | self._added(lacking, exact)
        whole = {digest: size for digest, size in lacking.items() if digest not in chunked}
        with self._cache.room_for(sum(lacking.values())), self._telling(sum(lacking.values())):
            for part in _parts(whole):
                found |= self._added(part, exact)
            for digest in lacking.keys() - whole.keys():
                found[digest] = self._assembled(digest, lacking[digest], chunked[digest])
        return found

    def _added(self, sizes: Mapping[str, int], exact: bool) -> dict[str, Path]:
        return {
            digest: self._checked(digest, partial(self._cache.add, digest), stored, sizes[digest], exact)
            for digest, stored in self.healed(sizes).items()
        }

    def _assembled(self, digest: str, size: int, named: str) -> Path:
        """Return a large file, of which only those chunks are fetched that no other file here has."""
        [stored] = self.healed([named]).values()
        encoded = self._checked(named, partial(_whole, named), stored, LARGEST_NODE, False)
        return assemble(self._cache, digest, chunk_list.decode(encoded, size), encoded, self._chunks)

    def _chunks(self, chunks: Collection[Chunk], later: Callable[[], list[Chunk]]) -> dict[str, bytes]:
        sizes = {chunk.digest: chunk.size for chunk in chunks}
        stored = self.healed(sizes, lambda: [chunk.digest for chunk in later()])
        return {
            digest: self._checked(digest, partial(_whole, digest), packed, sizes[digest], True)
            for digest, packed in stored.items()
        }

    def _checked(self, digest: str, take: Callable[[bytes], T], stored: bytes, size: int, exact: bool) -> T:
        """Unpack what the store gave and hand it to ``take``; what is not what it should be is discarded there."""
        self._fetched += len(stored)
        try:
            return take(unpack(stored, size if exact else None, size))
        except SnapshotInvalid:
            with contextlib.suppress(StoreError):  # so that whoever ships it again finds it missing
                if self._store is not None:
                    self._store.discard([digest])
            raise

    @contextlib.contextmanager
    def _telling(self, size: int) -> Iterator[None]:
        """Log how much is fetched, and how long that took, where it is much."""
        if size < TOLD:
            yield
            return
        began, before = time.monotonic(), self._fetched
        logger.info("Snapshot %s: %s of its files are not here yet.", self._snapshot[:12], _megabytes(size))
        yield
        logger.info(
            "Snapshot %s: they are here; %s were fetched, in %.1f seconds.",
            self._snapshot[:12],
            _megabytes(self._fetched - before),
            time.monotonic() - began,
        )

    def healed(self, names: Collection[str], later: Callable[[], list[str]] = list) -> dict[str, bytes]:
        """Return entries that must be in the store, asking the caller for those that are not.

        Args:
            names: of the entries.
            later: tells what else will be needed, which is asked for too if any of ``names`` is missing.

        Raises:
            SnapshotIncomplete: nobody sent them again in time.
            StoreUnavailable: the store cannot be reached.
        """
        if self._store is None:
            raise StoreUnavailable(self._no_store)
        found = self._store.get(names)
        if len(found) == len(set(names)):
            return found
        also = self._store.missing(later())
        now = time.monotonic()
        self._healing_until = self._healing_until or now + HEALING_SECONDS
        deadline = max(self._healing_until, now + HEALING_GRACE)
        used: set[str] = set()
        try:
            while lacking := tuple(sorted(set(names) - found.keys())):
                if time.monotonic() > deadline:
                    raise self._incomplete(lacking)
                used.add(slot := needs.any_slot(self._key))
                wanted = (*lacking, *sorted(also.difference(lacking)))
                self._store.put({slot: needs.Need(self._snapshot, wanted).encode()})
                time.sleep(HEALING_INTERVAL)
                arrived = self._store.get(lacking)
                if arrived:  # somebody is sending: who sends a large file needs its time
                    self._healing_until = deadline = time.monotonic() + HEALING_SECONDS
                found |= arrived
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


def _parts(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Split files into parts that are fetched, and so are in memory, at once."""
    part: dict[str, int] = {}
    size = 0
    for digest, each in sizes.items():
        if part and size + each > AT_ONCE:
            yield part
            part, size = {}, 0
        part[digest] = each
        size += each
    if part:
        yield part


def _whole(digest: str, raw: bytes) -> bytes:
    if digest_of(raw) != digest:
        raise SnapshotInvalid(f"The blob {digest[:12]} contradicts its digest. Ship the snapshot again.")
    return raw


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MB"
