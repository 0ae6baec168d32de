"""What a snapshot would look like on a disk, and whether that is safe; nothing is written."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import all_suffixes

from autocelery._model import Manifest
from autocelery._snapshot import tree
from autocelery._snapshot.links import BadLink, follow
from autocelery._snapshot.tree import EXECUTABLE, FILE, FOLDER, LINK, Entry
from autocelery._snapshot.trees import DEPTH_MAX, check_node
from autocelery.errors import SnapshotInvalid

#: How many entries a snapshot may have: nodes that name each other many times over stay small as blobs.
ENTRIES_MAX = 500_000

#: What Python imports by itself at its start, and what the host must get from the worker.
_HOOKS = frozenset({"sitecustomize", "usercustomize", "celery", "autocelery", "autocelery_host"})
_MODULE_SUFFIXES = tuple(sorted({*all_suffixes(), ".pyd", ".so"}, key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Plan:
    """Paths relative to the snapshot's folder, folders before what is in them.

    ``files`` are (path, digest, size, is executable), ``links`` (path, target).
    """

    folders: tuple[str, ...]
    files: tuple[tuple[str, str, int, bool], ...]
    links: tuple[tuple[str, str], ...]


def plan(manifest: Manifest, node: Callable[[str], bytes], ignores_case: bool = False) -> Plan:
    """Return how ``manifest`` is to be laid out.

    Args:
        manifest: as it was decoded.
        node: gives the bytes of a tree node by its digest.
        ignores_case: whether the file system takes ``A`` and ``a`` for one name.

    Raises:
        SnapshotInvalid: a node is malformed or contradicts its digest, names collide, a link leaves
            its root, or a file shadows one of the interpreter's hooks.
    """
    folders: list[str] = []
    files: list[tuple[str, str, int, bool]] = []
    links: list[tuple[str, str]] = []
    read = _remembered(node)
    _check_collisions([root.name for root in manifest.roots], "the snapshot", ignores_case)
    for root in manifest.roots:
        places = {"": (FOLDER, "")}
        folders.append(root.name)
        for path, entry in _entries(root.tree, read, ignores_case):
            full = f"{root.name}/{path}"
            places[path] = (entry.kind, entry.digest)
            if entry.kind == FOLDER:
                folders.append(full)
            elif entry.kind == LINK:
                links.append((full, entry.digest))
            else:
                files.append((full, entry.digest, entry.size, entry.kind == EXECUTABLE))
            if len(folders) + len(files) + len(links) > ENTRIES_MAX:
                raise SnapshotInvalid(f"The snapshot has more than {ENTRIES_MAX} files.")
        _check_root(root.name, places, manifest)
    return Plan(tuple(folders), tuple(files), tuple(links))


def _entries(
    top: str, read: Callable[[str], tuple[Entry, ...]], ignores_case: bool
) -> Iterator[tuple[str, Entry]]:
    pending = [("", top, 1)]
    while pending:
        folder, digest, depth = pending.pop()
        if depth > DEPTH_MAX:
            raise SnapshotInvalid(f"The snapshot's folders lie more than {DEPTH_MAX} deep in each other.")
        entries = read(digest)
        if ignores_case:
            _check_collisions([entry.name for entry in entries], folder, ignores_case)
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.kind == FOLDER:
                pending.append((path, entry.digest, depth + 1))
            yield path, entry


def _remembered(node: Callable[[str], bytes]) -> Callable[[str], tuple[Entry, ...]]:
    """Return a reader that checks and decodes each node once, also the sizes that folders claim."""
    known: dict[str, tuple[Entry, ...]] = {}

    def read(digest: str) -> tuple[Entry, ...]:
        if digest not in known:
            known[digest] = tree.decode(check_node(digest, node(digest)))
        return known[digest]

    return read


def _check_collisions(names: list[str], folder: str, ignores_case: bool) -> None:
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold() if ignores_case else name
        if folded in seen:
            raise SnapshotInvalid(
                f"{seen[folded]!r} and {name!r} in {folder or 'the top folder'} are one name on this "
                "worker's disk, which ignores case. Rename one of them."
            )
        seen[folded] = name


def _check_root(root: str, places: dict[str, tuple[str, str]], manifest: Manifest) -> None:
    for path, (kind, target) in places.items():
        if kind == LINK:
            _ends_inside(root, path, target, places)
    for path in manifest.paths:
        if path.partition("/")[0] == root:
            _check_hooks(path, _folder_at(root, path, places), places)
    if manifest.cwd.partition("/")[0] == root:
        _folder_at(root, manifest.cwd, places)


def _ends_inside(root: str, path: str, target: str, places: dict[str, tuple[str, str]]) -> str:
    try:
        return follow(path, target, places.get)
    except BadLink as problem:
        raise SnapshotInvalid(f"The snapshot's link {root}/{path} -> {target} {problem}.") from None


def _folder_at(root: str, path: str, places: dict[str, tuple[str, str]]) -> str:
    """Return the folder of the tree that the manifest's ``path`` leads to, through links if need be."""
    inside = path.partition("/")[2]
    if not inside:
        return ""
    end = _ends_inside(root, "-", inside, places)
    if places[end][0] != FOLDER:
        raise SnapshotInvalid(f"The manifest's path {path!r} is not a folder.")
    return end


def _check_hooks(path: str, folder: str, places: dict[str, tuple[str, str]]) -> None:
    prefix = f"{folder}/" if folder else ""
    for place, (kind, _target) in places.items():
        if not place.startswith(prefix) or "/" in place[len(prefix) :] or place == folder:
            continue
        name = place[len(prefix) :]
        if name.lower().endswith(".pth") or _shadows(name, place, kind, places):
            raise SnapshotInvalid(
                f"{path}/{name} would take the place of what a worker's Python or Celery needs under that "
                "name. Rename it, or take that folder off the import path."
            )


def _shadows(name: str, place: str, kind: str, places: dict[str, tuple[str, str]]) -> bool:
    if kind == FOLDER or (kind == LINK and "." not in name):
        # Without an __init__ it is a namespace package, which every real one goes before.
        return name.lower() in _HOOKS and (
            kind == LINK or any(f"{place}/__init__{suffix}" in places for suffix in _MODULE_SUFFIXES)
            or any(other.startswith(f"{place}/__init__.") for other in places)
        )  # fmt: skip
    return name.lower().endswith(_MODULE_SUFFIXES) and name.lower().partition(".")[0] in _HOOKS


assert FILE not in (FOLDER, LINK)
