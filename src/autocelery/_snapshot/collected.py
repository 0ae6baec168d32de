"""One root as it was collected: its nodes, and where the bytes of its files are."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from autocelery._snapshot import chunk_list, tree
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.chunking import CHUNK_MAX, WHOLE_MAX


@dataclass(frozen=True, slots=True)
class Node:
    """One folder of a tree, encoded; ``size`` and ``files`` count everything below it."""

    digest: str
    raw: bytes
    size: int
    files: int
    holds_python: bool


class Sources(Mapping[str, Path]):
    """Digest to path, with the paths made on demand: two thousand Path objects cost 3 ms."""

    __slots__ = ("_paths",)

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths

    def __getitem__(self, digest: str) -> Path:
        return Path(self._paths[digest])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, digest: object) -> bool:
        return digest in self._paths


@dataclass(frozen=True, slots=True)
class ChunkedFile:
    """A large file: where it is, its size in bytes, and its chunk list, encoded."""

    path: str
    size: int
    encoded: bytes

    @property
    def chunks(self) -> tuple[chunk_list.Chunk, ...]:
        """How it is cut."""
        return chunk_list.decode(self.encoded, self.size)


class ChunkedFiles(Mapping[str, ChunkedFile]):
    """The large files of a tree, by their digests."""

    __slots__ = ("_files", "_places", "lists")

    def __init__(self, files: dict[str, ChunkedFile]) -> None:
        self._files = files
        self._places: dict[str, tuple[str, int, int]] | None = None
        #: The same files, by the digests of their chunk lists.
        self.lists = {digest_of(file.encoded): file for file in files.values()}

    def place(self, digest: str) -> tuple[str, int, int] | None:
        """Return where a chunk's bytes are: path, offset and size in bytes. ``None``: in none of these files."""
        if self._places is None:
            self._places = {}
            for file in self._files.values():
                offset = 0
                for chunk in file.chunks:
                    self._places[chunk.digest] = (file.path, offset, chunk.size)
                    offset += chunk.size
        return self._places.get(digest)

    def __getitem__(self, digest: str) -> ChunkedFile:
        return self._files[digest]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, digest: object) -> bool:
        return digest in self._files


@dataclass(frozen=True, slots=True)
class CollectedTree:
    """One root of a snapshot, on the caller's side.

    ``digest`` names the tree; ``size`` in bytes and ``files`` count what it
    ships. ``nodes`` holds every folder's bytes, ``sources`` says where each
    file's bytes are, ``chunked`` how the large ones are cut. ``imports`` are
    the top-level names that its Python files import, ``modules`` those that
    can be imported from its top. ``withheld``
    are the paths of files that look like secrets and are not shipped, ``reasons`` say why.
    """

    digest: str
    size: int
    files: int
    nodes: Mapping[str, bytes]
    sources: Mapping[str, Path]
    imports: frozenset[str]
    modules: frozenset[str]
    withheld: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    chunked: ChunkedFiles = field(default_factory=lambda: ChunkedFiles({}))

    def blobs(self, sent: Container[str] = ()) -> Iterator[str]:
        """Yield the digests of its files' blobs, a chunk list after its chunks.

        Args:
            sent: chunk lists of which the chunks are left out.
        """
        for digest in self.sources:
            if digest not in self.chunked:
                yield digest
        for digest, file in self.chunked.lists.items():
            if digest not in sent:
                yield from (chunk.digest for chunk in file.chunks)
            yield digest

    def path_of(self, digest: str) -> str | None:
        """Return the file that a blob, chunk or chunk list is of; ``None`` if it is of no file in this tree."""
        if digest in self.sources:
            return str(self.sources[digest])
        place = self.chunked.place(digest)
        if place is not None:
            return place[0]
        return self.chunked.lists[digest].path if digest in self.chunked.lists else None

    def below(self, digest: str) -> list[str] | None:
        """Return the blobs that a node or a chunk list names; ``None`` if ``digest`` is neither here."""
        if digest in self.nodes:
            entries = tree.decode(self.nodes[digest])
            return [each.chunks or each.digest for each in entries if each.kind != tree.LINK]
        file = self.chunked.lists.get(digest)
        return None if file is None else [chunk.digest for chunk in file.chunks]

    def read(self, digest: str) -> bytes | None:
        """Return the bytes of the node, the file, the chunk list or the chunk with that digest.

        ``None`` if the file has changed since it was collected: collect again.
        """
        if digest in self.nodes:
            return self.nodes[digest]
        if digest in self.chunked.lists:
            return self.chunked.lists[digest].encoded
        place = self._place(digest)
        if place is None:
            return None
        try:
            raw = _read(*place)
        except OSError:
            return None
        return raw if digest_of(raw) == digest else None

    def size_of(self, digest: str) -> int | None:
        """Return how many bytes `read` would give; ``None`` if there is no such blob here."""
        if digest in self.nodes:
            return len(self.nodes[digest])
        if digest in self.chunked.lists:
            return len(self.chunked.lists[digest].encoded)
        place = self._place(digest)
        if place is None:
            return None
        try:
            return os.stat(place[0]).st_size if place[2] > CHUNK_MAX else place[2]
        except OSError:
            return None

    def _place(self, digest: str) -> tuple[str, int, int] | None:
        """Return path, offset and the bytes to read, more than there are where it is a whole file."""
        if digest in self.sources and digest not in self.chunked:
            return str(self.sources[digest]), 0, WHOLE_MAX + 1
        return self.chunked.place(digest)


def _read(path: str, offset: int, size: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def module_name(file: str) -> str | None:
    """Return the name under which a file can be imported, if it can be.

    >>> module_name("tasks.py"), module_name("fast.cpython-311-x86_64-linux-gnu.so"), module_name("a-b.py")
    ('tasks', 'fast', None)
    """
    stem, dot, suffix = file.partition(".")
    if not dot or not stem.isidentifier():
        return None
    is_module = suffix == "py" or os.path.splitext(file)[1] in (".so", ".pyd")
    return stem if is_module else None
