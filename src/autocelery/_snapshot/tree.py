"""The Merkle tree's nodes: one folder's entries as bytes, and back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from autocelery._snapshot.canonical import canonical_json, is_digest, parse_canonical
from autocelery._snapshot.chunking import WHOLE_MAX
from autocelery.errors import SnapshotInvalid

FILE = "f"
EXECUTABLE = "x"
FOLDER = "d"
LINK = "l"

#: Longest name, in bytes, that the file systems of workers can hold.
NAME_MAX = 255
_NO_NAMES = frozenset({"", ".", ".."})
_WITH_DIGEST = frozenset({FILE, EXECUTABLE, FOLDER})
#: Longest target of a symbolic link, in bytes.
TARGET_MAX = 4095


class Entry(NamedTuple):
    """One line of a folder: ``size`` in bytes, ``digest`` of a file or folder, or a link's target.

    ``chunks`` is the digest of the chunk list of a file of more than `WHOLE_MAX`
    bytes, and empty for all else.
    """

    name: str
    kind: str
    size: int
    digest: str
    chunks: str = ""


def encode(entries: Iterable[Entry]) -> bytes:
    """Return the node of a folder with these entries, in whatever order they come.

    >>> encode([Entry("current", "l", 0, "releases/2")])
    b'[["current","l",0,"releases/2"]]'
    """
    return canonical_json([each if each.chunks else each[:4] for each in sorted(entries)])


def decode(raw: bytes) -> tuple[Entry, ...]:
    """Return a folder's entries, sorted by name.

    Raises:
        SnapshotInvalid: ``raw`` is not exactly what ``encode`` makes of a folder that is allowed.
    """
    lines = parse_canonical(raw, "A folder of the snapshot")
    if not isinstance(lines, list) or not lines:
        raise SnapshotInvalid("A folder of the snapshot is not a list of entries.")
    entries = tuple(_entry(line) for line in lines)
    for before, after in pairwise(entries):
        if before.name >= after.name:
            raise SnapshotInvalid(f"A folder of the snapshot names {after.name!r} twice or out of order.")
    return entries


def check_name(name: object) -> str:
    """Return ``name`` if it can be the name of one entry of a folder.

    Raises:
        SnapshotInvalid: it is a path, special, too long, or no text.
    """
    if not isinstance(name, str) or name in _NO_NAMES or "/" in name or "\0" in name:
        raise SnapshotInvalid(f"The snapshot has an entry that is called {name!r}, which is no file's name.")
    if len(name) > NAME_MAX // 4 and len(name.encode()) > NAME_MAX:
        raise SnapshotInvalid(f"The snapshot has a name of more than {NAME_MAX} bytes: {name[:40]!r}...")
    return name


def _entry(line: object) -> Entry:
    if not isinstance(line, list) or len(line) not in (4, 5):
        raise SnapshotInvalid("A folder of the snapshot has an entry that is not [name, kind, size, digest].")
    name, kind, size, digest, *chunks = line
    check_name(name)
    if type(size) is not int or size < 0:
        raise SnapshotInvalid(f"The snapshot's entry {name!r} has the size {size!r}.")
    if kind == LINK:
        _chunks(name, kind, 0, chunks)
        return Entry(name, LINK, _no_size(name, size), _target(name, digest))
    if kind not in _WITH_DIGEST:
        raise SnapshotInvalid(f"The snapshot's entry {name!r} is of the unknown kind {kind!r}.")
    if not is_digest(digest):
        raise SnapshotInvalid(f"The snapshot's entry {name!r} has no valid digest.")
    return Entry(name, kind, size, digest, _chunks(name, kind, size, chunks))


def _chunks(name: str, kind: str, size: int, chunks: list[object]) -> str:
    """Return the digest of the chunk list, which large files have and nothing else."""
    if bool(chunks) != (kind != FOLDER and size > WHOLE_MAX):
        raise SnapshotInvalid(
            f"The snapshot's entry {name!r} of {size} bytes is cut into chunks, or should be."
        )
    if chunks and not is_digest(chunks[0]):
        raise SnapshotInvalid(f"The snapshot's entry {name!r} has no valid digest of its chunk list.")
    return str(chunks[0]) if chunks else ""


def _no_size(name: str, size: int) -> int:
    if size:
        raise SnapshotInvalid(f"The snapshot's link {name!r} has a size.")
    return size


def _target(name: str, target: object) -> str:
    if not isinstance(target, str) or not target or target.startswith("/") or "\0" in target:
        raise SnapshotInvalid(
            f"The snapshot's link {name!r} has the target {target!r}, which is not relative."
        )
    if len(target.encode()) > TARGET_MAX:
        raise SnapshotInvalid(f"The snapshot's link {name!r} has a target of more than {TARGET_MAX} bytes.")
    return target
