"""The chunk list, a blob that says how a large file is cut, as canonical bytes and back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from autocelery._snapshot.canonical import canonical_json, is_digest, parse_canonical
from autocelery._snapshot.chunking import CHUNK_MAX
from autocelery.errors import SnapshotInvalid


class Chunk(NamedTuple):
    """A part of a file: ``size`` in bytes, and the digest of its bytes."""

    size: int
    digest: str


def encode(chunks: Iterable[Chunk]) -> bytes:
    """Return the canonical bytes of a list of chunks, in the order of the file.

    >>> encode([Chunk(3, "ab" * 32)]) == b'[[3,"%s"]]' % (b"ab" * 32)
    True
    """
    return canonical_json(list(chunks))


@lru_cache(maxsize=64)  # a caller asks for the lists of its files again with each edit
def decode(raw: bytes, size: int | None) -> tuple[Chunk, ...]:
    """Return the chunks of a file of ``size`` bytes; ``None`` takes any size.

    Raises:
        SnapshotInvalid: ``raw`` is not exactly what ``encode`` makes, or its chunks are not the whole file.
    """
    lines = parse_canonical(raw, "A chunk list")
    if not isinstance(lines, list):
        raise SnapshotInvalid("A chunk list of the snapshot is not a list.")
    chunks = tuple(_chunk(line) for line in lines)
    if size is not None and sum(chunk.size for chunk in chunks) != size:
        raise SnapshotInvalid(
            f"A chunk list of the snapshot does not add up to the {size} bytes of its file."
        )
    return chunks


def _chunk(line: object) -> Chunk:
    if not isinstance(line, list) or len(line) != 2:
        raise SnapshotInvalid("A chunk list of the snapshot has a chunk that is not [size, digest].")
    size, digest = line
    if type(size) is not int or not 0 < size <= CHUNK_MAX or not is_digest(digest):
        raise SnapshotInvalid(f"A chunk list of the snapshot has a chunk of the size {size!r}, or no digest.")
    return Chunk(size, digest)
