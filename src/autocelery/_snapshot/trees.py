"""Walk a tree of nodes level by level, so that a level costs one round trip."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from autocelery._snapshot import tree
from autocelery._snapshot.canonical import digest_of
from autocelery.errors import SnapshotIncomplete, SnapshotInvalid

#: How deep folders may lie in each other.
DEPTH_MAX = 100

Fetch = Callable[[Collection[str]], Mapping[str, bytes]]


@dataclass(frozen=True, slots=True)
class Level:
    """The nodes of one depth, and the sizes of the files that they name, by the files' digests.

    What an earlier level named already is not named again. ``chunked`` are
    the digests of the chunk lists of the large ones, ``copied`` the bytes of
    executable files, of which a layout has copies.
    """

    nodes: Mapping[str, bytes]
    blobs: Mapping[str, int]
    chunked: Mapping[str, str]
    copied: int


def walk(tree_digest: str | Collection[str], fetch: Fetch) -> Iterator[Level]:
    """Yield the levels of one tree, or of several at once, from the top down.

    Args:
        tree_digest: the digest of a tree, or of each root's.
        fetch: gives the raw bytes of the nodes it is asked for; it is called once a level.

    Raises:
        SnapshotIncomplete: ``fetch`` left a node out.
        SnapshotInvalid: a node is malformed or contradicts its digest, or folders nest too deep.
    """
    wanted = {tree_digest} if isinstance(tree_digest, str) else set(tree_digest)
    seen: set[str] = set()
    blobs_seen: set[str] = set()
    for _depth in range(DEPTH_MAX):
        wanted -= seen
        if not wanted:
            return
        seen |= wanted
        nodes = _fetched(wanted, fetch)
        entries = [entry for raw in nodes.values() for entry in tree.decode(raw)]
        files = [entry for entry in entries if entry.kind in (tree.FILE, tree.EXECUTABLE)]
        blobs = {entry.digest: entry.size for entry in files if entry.digest not in blobs_seen}
        blobs_seen |= blobs.keys()
        chunked = {entry.digest: entry.chunks for entry in files if entry.chunks}
        copied = sum(entry.size for entry in files if entry.kind == tree.EXECUTABLE)
        yield Level(nodes, blobs, chunked, copied)
        wanted = {entry.digest for entry in entries if entry.kind == tree.FOLDER}
    if wanted - seen:
        raise SnapshotInvalid(f"The snapshot's folders lie more than {DEPTH_MAX} deep in each other.")


def check_node(digest: str, raw: bytes) -> bytes:
    """Return ``raw`` if it is what ``digest`` names.

    Raises:
        SnapshotInvalid: it is something else.
    """
    if digest_of(raw) != digest:
        raise SnapshotInvalid(
            f"The folder {digest[:12]} of the snapshot contradicts its digest. Ship it again."
        )
    return raw


def _fetched(wanted: set[str], fetch: Fetch) -> dict[str, bytes]:
    found = fetch(sorted(wanted))
    lacking = sorted(wanted - found.keys())
    if lacking:
        raise SnapshotIncomplete(
            f"{len(lacking)} folders of the snapshot are missing ({lacking[0][:12]} first): the blob store "
            "lost them. Send the call again from where its code is; what is missing is sent with it."
        )
    return {digest: check_node(digest, found[digest]) for digest in sorted(wanted)}
