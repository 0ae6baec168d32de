"""A large file put together: chunks of earlier versions are taken from those, the others fetched."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import IO

from autocelery._snapshot.cache import LIST_SUFFIX, BlobCache
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.chunk_list import Chunk, decode
from autocelery.errors import SnapshotInvalid

#: Bytes of chunks that are fetched at once, and so in memory.
AT_ONCE = 8 * 2**20

#: Gives the bytes of chunks, each checked, by their digests; the second tells what will be asked for later.
Fetch = Callable[[Collection[Chunk], Callable[[], list[Chunk]]], Mapping[str, bytes]]


def assemble(cache: BlobCache, digest: str, chunks: Sequence[Chunk], encoded: bytes, fetch: Fetch) -> Path:
    """Return the file with ``digest`` in the cache, made of its chunks.

    Args:
        cache: where it is kept, and where earlier versions of it may be.
        digest: of the whole file.
        chunks: as ``encoded`` lists them.
        encoded: the chunk list, which is kept beside the file for the next version.
        fetch: gets the chunks that no file in the cache has.

    Raises:
        SnapshotInvalid: the chunks are not the file that ``digest`` names.
        DiskFull: there is no room; nothing was fetched.
    """
    with ExitStack() as opened:
        donors = Donors(cache, {chunk.digest for chunk in chunks}, opened)
        size = sum(chunk.size for chunk in chunks)
        path = cache.add_pieces(digest, size, _pieces(chunks, donors, fetch))
    with suppress(OSError):  # the next version is then fetched whole
        Path(cache.path_of(digest, LIST_SUFFIX)).write_bytes(encoded)
    return path


class Donors:
    """Files in the cache that have some of the ``wanted`` chunks; they stay open, and so readable, with ``opened``."""

    def __init__(self, cache: BlobCache, wanted: Collection[str], opened: ExitStack) -> None:
        self._places: dict[str, tuple[IO[bytes], int]] = {}
        for digest, encoded in cache.chunk_lists():
            offsets = _offsets(encoded)
            places = {chunk: at for chunk, at in offsets if chunk in wanted and chunk not in self._places}
            path = cache.find(digest) if places else None
            if path is None:
                continue
            with suppress(OSError):  # evicted just now
                file = opened.enter_context(Path(path).open("rb"))  # noqa: SIM115 - `opened` ends it
                self._places |= {chunk: (file, offset) for chunk, offset in places.items()}

    def __contains__(self, digest: object) -> bool:
        return digest in self._places

    def read(self, chunk: Chunk) -> bytes | None:
        """Return a chunk's bytes; ``None`` if they are not what they were."""
        file, offset = self._places[chunk.digest]
        file.seek(offset)
        raw = file.read(chunk.size)
        return raw if digest_of(raw) == chunk.digest else None


def _offsets(encoded: bytes) -> Iterator[tuple[str, int]]:
    """Yield (digest, offset) of a list that was kept in the cache; one that is damaged has no chunks."""
    with suppress(SnapshotInvalid):
        offset = 0
        for chunk in decode(encoded, None):
            yield chunk.digest, offset
            offset += chunk.size


def _pieces(chunks: Sequence[Chunk], donors: Donors, fetch: Fetch) -> Iterator[bytes]:
    start = 0
    while start < len(chunks):
        stop, wanted = _next_part(chunks, start, donors)
        later = partial(_fetched_later, chunks, stop, donors)
        fetched = fetch(wanted, later) if wanted else {}
        for chunk in chunks[start:stop]:
            raw = fetched.get(chunk.digest)
            if raw is None and chunk.digest in donors:
                raw = donors.read(chunk)
            yield fetch([chunk], later)[chunk.digest] if raw is None else raw
        start = stop


def _fetched_later(chunks: Sequence[Chunk], start: int, donors: Donors) -> list[Chunk]:
    return [chunk for chunk in chunks[start:] if chunk.digest not in donors]


def _next_part(chunks: Sequence[Chunk], start: int, donors: Donors) -> tuple[int, dict[Chunk, None]]:
    """Return where the part that begins at ``start`` ends, and its chunks that have to be fetched."""
    wanted: dict[Chunk, None] = {}
    size = 0
    for number in range(start, len(chunks)):
        chunk = chunks[number]
        if chunk.digest in donors or chunk in wanted:
            continue
        if wanted and size + chunk.size > AT_ONCE:
            return number, wanted
        wanted[chunk] = None
        size += chunk.size
    return len(chunks), wanted
