"""A snapshot from the store as a folder on the caller's machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from autocelery._blobs import BlobStore, unpack
from autocelery._model import Manifest
from autocelery._publish.transfers import Bar
from autocelery._snapshot import chunk_list, trees
from autocelery._snapshot.assembling import AT_ONCE, assemble
from autocelery._snapshot.cache import BlobCache
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.chunk_list import Chunk
from autocelery._snapshot.layout import lay_out
from autocelery.errors import SnapshotIncomplete, SnapshotInvalid

#: Largest folder or chunk list that is unpacked, in bytes.
LARGEST = 2**30


def check_out(described: Manifest, snapshot: str, store: BlobStore, place: str, folder: Path) -> None:
    """Lay a snapshot out as ``folder``; its files are read-only.

    Args:
        described: its manifest.
        snapshot: its id.
        store: has its blobs.
        place: what people call that store.
        folder: which must not exist yet.

    Raises:
        SnapshotIncomplete: the store lacks some of its files.
        DiskFull: there is no room; nothing is left of it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".checkout-") as scratch,
        Bar("fetching files") as bar,
    ):
        fetching = _Fetching(store, place, BlobCache(Path(scratch, "blobs"), 0), bar)
        nodes: dict[str, bytes] = {}
        sizes: dict[str, int] = {}
        chunked: dict[str, str] = {}
        for level in trees.walk([root.tree for root in described.roots], fetching.raw):
            nodes |= level.nodes
            sizes |= level.blobs
            chunked |= level.chunked
        files = fetching.files(sizes, chunked)
        laid = lay_out(
            described, snapshot, node=nodes.__getitem__, blob=files.__getitem__, folder=Path(scratch)
        )
        laid.rename(folder)


class _Fetching:
    """Fetches the files of one snapshot into ``cache`` and tells ``bar`` how far it is."""

    def __init__(self, store: BlobStore, place: str, cache: BlobCache, bar: Bar) -> None:
        self._store = store
        self._place = place
        self._cache = cache
        self._bar = bar
        self._done = self._total = 0

    def raw(self, names: Collection[str]) -> dict[str, bytes]:
        """Return those of the named blobs that the store has."""
        return {name: unpack(packed, None, LARGEST) for name, packed in self._store.get(names).items()}

    def files(self, sizes: Mapping[str, int], chunked: Mapping[str, str]) -> dict[str, Path]:
        """Return the files with these digests and sizes; ``chunked`` names the chunk lists of some."""
        self._total = sum(sizes.values())
        found: dict[str, Path] = {}
        whole = [Chunk(size, digest) for digest, size in sizes.items() if digest not in chunked]
        while whole:
            part = [whole.pop()]
            while whole and sum(each.size for each in part) + whole[-1].size <= AT_ONCE:
                part.append(whole.pop())
            found |= {digest: self._cache.add(digest, raw) for digest, raw in self._fetched(part).items()}
        for digest, named in chunked.items():
            encoded = self._present([named], self.raw([named]))[named]
            chunks = chunk_list.decode(encoded, sizes[digest])
            found[digest] = assemble(self._cache, digest, chunks, encoded, self._fetched)
        return found

    def _fetched(
        self, chunks: Collection[Chunk], _later: Callable[[], list[Chunk]] = list
    ) -> dict[str, bytes]:
        sizes = {chunk.digest: chunk.size for chunk in chunks}
        stored = self._present(sizes, self._store.get(list(sizes)))
        found = {name: unpack(packed, sizes[name], sizes[name]) for name, packed in stored.items()}
        for name, raw in found.items():
            if digest_of(raw) != name:
                raise SnapshotInvalid(
                    f"The blob {name[:12]} contradicts its digest. Ship the snapshot again."
                )
        self._done += sum(sizes.values())
        self._bar.show(self._done, self._total)
        return found

    def _present(self, names: Collection[str], found: dict[str, bytes]) -> dict[str, bytes]:
        if len(found) < len(names):
            raise SnapshotIncomplete(
                f"{len(names) - len(found)} or more parts of the snapshot are not in {self._place} any more. "
                "Send a call from its tree again, or check out another snapshot."
            )
        return found
