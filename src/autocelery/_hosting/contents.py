"""What a snapshot needs of the cache before it can be laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autocelery._hosting.fetching import Fetcher
from autocelery._model import Lock, Manifest
from autocelery._snapshot import lock as locks
from autocelery._snapshot import tree, trees
from autocelery.errors import SnapshotTooLarge

#: Most bytes of the functions that are in no module.
LARGEST_VALUES = 2**30


@dataclass(frozen=True, slots=True)
class Trees:
    """The nodes of a snapshot, and the sizes of its files in bytes, both by their digests.

    ``chunked`` are the chunk lists of the large ones, ``copied`` the bytes of
    executable files, of which a layout has copies.
    """

    nodes: Mapping[str, bytes]
    sizes: Mapping[str, int]
    chunked: Mapping[str, str]
    copied: int

    def check(self, snapshot: str, limit: int) -> None:
        """See that it fits into a cache of ``limit`` bytes.

        Raises:
            SnapshotTooLarge: it does not, whatever else is removed.
        """
        size = sum(self.sizes.values()) + self.copied
        if size > limit:
            raise SnapshotTooLarge(
                f"Snapshot {snapshot[:12]} has {size / 2**20:.1f} MB, and the cache of this worker is kept to "
                f"{limit / 2**20:.1f} MB. Raise AUTOCELERY_CACHE_MAX there, or leave out what its tasks do not "
                "need: [tool.autocelery] exclude in pyproject.toml."
            )


@dataclass(frozen=True, slots=True)
class Extras:
    """What a snapshot has beside its trees."""

    values: Path | None
    lock: Lock
    digests: tuple[str, ...]


def of_trees(described: Manifest, fetcher: Fetcher) -> Trees:
    """Return what the trees of a snapshot name, once all their nodes are here.

    Raises:
        SnapshotIncomplete: some are nowhere.
        SnapshotInvalid: one is malformed.
    """
    nodes: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    chunked: dict[str, str] = {}
    copied = 0
    for level in trees.walk([root.tree for root in described.roots], fetcher.nodes):
        nodes |= level.nodes
        sizes |= level.blobs
        chunked |= level.chunked
        copied += level.copied
    return Trees(nodes, sizes, chunked, copied)


def claimed_size(described: Manifest, fetcher: Fetcher) -> int:
    """Return the size of a snapshot as its top folders claim it: what it has twice is counted twice."""
    tops = fetcher.nodes({root.tree for root in described.roots})
    return sum(entry.size for raw in tops.values() for entry in tree.decode(raw))


def extras_of(described: Manifest, fetcher: Fetcher) -> Extras:
    """Fetch what a snapshot has beside its trees.

    Raises:
        SnapshotIncomplete: it is nowhere.
    """
    values = fetcher.files({described.values: LARGEST_VALUES}, exact=False) if described.values else {}
    locked = fetcher.nodes([described.lock]) if described.lock else {}
    lock = locks.decode(locked[described.lock]) if described.lock else Lock()
    return Extras(next(iter(values.values()), None), lock, (*values, *locked))
