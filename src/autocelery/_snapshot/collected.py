"""One root as it was collected: its nodes, and where the bytes of its files are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autocelery._snapshot.canonical import digest_of


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
class CollectedTree:
    """One root of a snapshot, on the caller's side.

    ``digest`` names the tree; ``size`` in bytes and ``files`` count what it
    ships. ``nodes`` holds every folder's bytes, ``sources`` says where each
    file's bytes are. ``imports`` are the top-level names that its Python files
    import, ``modules`` those that can be imported from its top. ``withheld``
    are the paths of files that look like secrets and are not shipped.
    """

    digest: str
    size: int
    files: int
    nodes: Mapping[str, bytes]
    sources: Mapping[str, Path]
    imports: frozenset[str]
    modules: frozenset[str]
    withheld: tuple[str, ...] = ()

    def read(self, digest: str) -> bytes | None:
        """Return the bytes of the node or file with that digest.

        ``None`` if the file has changed since it was collected: collect again.
        """
        node = self.nodes.get(digest)
        if node is not None:
            return node
        try:
            raw = self.sources[digest].read_bytes()
        except OSError:
            return None
        return raw if digest_of(raw) == digest else None


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
