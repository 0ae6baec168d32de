"""Collect one root: find its files, read what changed, encode the nodes on the path of the change."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterator
from pathlib import Path

from autocelery._snapshot import tree
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.collected import CollectedTree, Node, Sources, module_name
from autocelery._snapshot.linked import withheld_links
from autocelery._snapshot.listing import list_tree
from autocelery._snapshot.reading import SECRET, SPECIAL, FileState, read_state
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.secrecy import is_secret_name
from autocelery._snapshot.stat_memory import StatMemory, TopMemory
from autocelery._snapshot.tree import EXECUTABLE, FILE, FOLDER, LINK, Entry
from autocelery._snapshot.trees import DEPTH_MAX
from autocelery.errors import BadFileName, EmptyTree, TreeTooLarge, UnreadableFile

_LARGEST_NAMED = 10


def collect(top: Path, *, memory: StatMemory, limit: int, rules: ShipRules) -> CollectedTree:
    """Return the working tree at ``top`` as it is now.

    Where nothing changed since the last time this is a stat a file and a
    folder, and the same object as before.

    Args:
        top: the folder that becomes the root.
        memory: what was learned the last times.
        limit: bytes that the tree may have, unless ``rules.max_size`` says otherwise.
        rules: what the project adds and leaves out.

    Raises:
        EmptyTree, TreeTooLarge, UnreadableFile, FileKeepsChanging, BadFileName, UnsafeSymlink:
            the tree cannot be shipped as it is; nothing was sent.
    """
    base = os.path.realpath(top)
    if not os.path.isdir(base):
        raise UnreadableFile(f"{top} is not a folder, so there is no code to ship from it. Check --workdir.")
    with memory.of(base) as known:
        is_relisted = _refresh_listing(base, known, rules)
        stale = _stale(base, known)
        if known.tree is not None and not is_relisted and not stale:
            return _within(known.tree, known, base, rules.max_size or limit)
        _check_size(base, known, stale, rules.max_size or limit)
        try:
            dirty = _read(base, known, stale, rules)
            known.tree = _encode(base, known, dirty)
        except BaseException:
            # What was read stays known; what was encoded from it may be half of the truth.
            known.nodes, known.tree = {}, None
            raise
        known.unsaved += len(stale) + (1 + len(known.files) if is_relisted else 0)
        return known.tree


def _refresh_listing(base: str, known: TopMemory, rules: ShipRules) -> bool:
    """List the tree again if it may have changed; return whether it was listed."""
    if (
        known.listing is not None
        and known.rules == rules
        and known.listing.watch.is_unchanged(base, time.time_ns())
    ):
        return False
    if known.rules != rules:
        # Other rules may make a secret of a file that was none.
        known.files = {}
    listing = list_tree(base, rules)
    _check_names(base, listing.names)
    before = known.listing.names if known.listing is not None else {}
    for folder in before.keys() | listing.names.keys():
        if before.get(folder) != listing.names.get(folder):
            known.nodes.pop(folder, None)
    known.files = {folder: known.files.get(folder, {}) for folder in listing.names}
    for folder, names in listing.names.items():
        states = known.files[folder]
        for gone in states.keys() - set(names):
            del states[gone]
    known.listing, known.rules, known.tree = listing, rules, None
    return True


def _stale(base: str, known: TopMemory) -> list[tuple[str, str, int]]:
    """Return (folder, name, size) of the files whose state has to be read; -1 for one that is gone."""
    stale = []
    lstat = os.lstat
    assert known.listing is not None
    for folder, names in known.listing.names.items():
        states = known.files.setdefault(folder, {})
        prefix = f"{base}/{folder}/" if folder else f"{base}/"
        for name in names:
            state = states.get(name)
            try:
                status = lstat(prefix + name)
            except OSError:
                if state is not None:
                    stale.append((folder, name, -1))
                continue
            if state is None or not state[1] or state[0] != (
                status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode,
            ):  # fmt: skip
                stale.append((folder, name, status.st_size))
    return stale


def _check_size(base: str, known: TopMemory, stale: list[tuple[str, str, int]], limit: int) -> None:
    """Refuse a tree over the limit before any of it is read."""
    sizes = {
        _join(folder, name): state.size for folder, name, state in _states(known) if state.kind in _SHIPPED
    }
    for folder, name, size in stale:
        path = _join(folder, name)
        is_known = name in known.files[folder]
        if size < 0 or (not is_known and is_secret_name(path)):
            sizes.pop(path, None)
        elif path in sizes or not is_known:
            sizes[path] = size
    total = sum(sizes.values())
    if total > limit:
        raise TreeTooLarge(_too_large(base, sizes, total, limit))


def _within(collected: CollectedTree, known: TopMemory, base: str, limit: int) -> CollectedTree:
    if collected.size > limit:
        _check_size(base, known, [], limit)
    return collected


def _too_large(base: str, sizes: dict[str, int], total: int, limit: int) -> str:
    largest = heapq.nlargest(_LARGEST_NAMED, sizes.items(), key=lambda item: item[1])
    lines = "\n".join(f"  {_megabytes(size):>10}  {path}" for path, size in largest)
    return (
        f"The tree {base} has {_megabytes(total)}, and the limit is {_megabytes(limit)}. Its largest files:\n{lines}\n"
        "Name what the tasks do not need in .gitignore or in tool.autocelery.exclude in pyproject.toml, or raise "
        "AUTOCELERY_TREE_MAX or tool.autocelery.max_size."
    )


def _read(base: str, known: TopMemory, stale: list[tuple[str, str, int]], rules: ShipRules) -> set[str]:
    """Read the stale files; return the folders of which a node has to be made."""
    assert known.listing is not None
    dirty = {folder for folder in known.listing.names if folder not in known.nodes}
    for folder, name, _size in stale:
        path = _join(folder, name)
        states = known.files[folder]
        before = states.get(name)
        after = _state(base, path, rules)
        if after is None:
            states.pop(name, None)
        else:
            states[name] = after
        if (
            before is None
            or after is None
            or _line(name, before) != _line(name, after)
            or after.imports != before.imports
        ):
            dirty.add(folder)
    return dirty


def _state(base: str, path: str, rules: ShipRules) -> FileState | None:
    if is_secret_name(path) and not rules.names(path):
        try:
            status = os.lstat(f"{base}/{path}")
        except OSError:
            return None
        signature = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)
        return FileState(signature, True, SECRET, "")
    return read_state(base, path, may_be_secret=not rules.names(path))


def _encode(base: str, known: TopMemory, dirty: set[str]) -> CollectedTree:
    withheld = [_join(folder, name) for folder, name, state in _states(known) if state.kind == SECRET]
    hidden = withheld_links(base, known.files, frozenset(withheld))
    dirty |= {link.rpartition("/")[0] for link in hidden}
    _encode_nodes(known, dirty, hidden)
    root = known.nodes.get("")
    if root is None:
        raise EmptyTree(
            f"{base} has no file that would be shipped: it is empty, or .gitignore or tool.autocelery.exclude "
            "leaves everything out. Run it from the project's folder, or give that with --workdir."
        )
    shipped = [
        (folder, name, state) for folder, name, state in _states(known) if state.kind in (FILE, EXECUTABLE)
    ]
    imports: set[str] = set()
    for _folder, _name, state in shipped:
        imports.update(state.imports)
    return CollectedTree(
        digest=root.digest,
        size=root.size,
        files=root.files,
        nodes={node.digest: node.raw for node in known.nodes.values() if node is not None},
        sources=Sources({state.digest: f"{base}/{_join(folder, name)}" for folder, name, state in shipped}),
        imports=frozenset(imports),
        modules=_modules(known),
        withheld=tuple(sorted([*withheld, *hidden])),
    )


def _encode_nodes(known: TopMemory, dirty: set[str], hidden: frozenset[str]) -> None:
    """Make the nodes of the dirty folders and of those above them, the deepest first."""
    below = _subfolders(known)
    known.nodes = {folder: node for folder, node in known.nodes.items() if folder in below}
    dirty = set(dirty) | (below.keys() - known.nodes.keys())
    for folder in sorted(below, key=lambda path: (path.count("/") + bool(path), path), reverse=True):
        if folder not in dirty:
            continue
        before = known.nodes.get(folder)
        after = _node(folder, known, below[folder], hidden)
        known.nodes[folder] = after
        if folder and (before is None or after is None or before != after):
            dirty.add(folder.rpartition("/")[0])


def _node(folder: str, known: TopMemory, below: list[str], hidden: frozenset[str]) -> Node | None:
    entries, files, holds_python = [], 0, False
    for name, state in known.files.get(folder, {}).items():
        if state.kind in _SHIPPED and (not hidden or _join(folder, name) not in hidden):
            entries.append(_line(name, state))
            files += 1
            holds_python = holds_python or name.endswith((".py", ".so", ".pyd"))
    for name in below:
        node = known.nodes.get(_join(folder, name))
        if node is not None:
            entries.append(Entry(name, FOLDER, node.size, node.digest))
            files += node.files
            holds_python = holds_python or node.holds_python
    if not entries:
        return None
    raw = tree.encode(entries)
    return Node(digest_of(raw), raw, sum(entry.size for entry in entries), files, holds_python)


def _subfolders(known: TopMemory) -> dict[str, list[str]]:
    """Return the names of the folders in each folder of the listing, and in those above them."""
    below: dict[str, list[str]] = {"": []}
    for folder in known.files:
        while folder and folder not in below:
            below[folder] = []
            folder = folder.rpartition("/")[0]
    for folder in list(below):
        if folder:
            parent, _, name = folder.rpartition("/")
            below[parent].append(name)
    return below


def _modules(known: TopMemory) -> frozenset[str]:
    files = {
        module_name(name)
        for name, state in known.files.get("", {}).items()
        if state.kind in (FILE, EXECUTABLE, LINK)
    }
    folders = {
        folder
        for folder, node in known.nodes.items()
        if node is not None and node.holds_python and "/" not in folder and folder.isidentifier()
    }
    return frozenset({name for name in files if name} | folders)


def _check_names(base: str, names: dict[str, tuple[str, ...]]) -> None:
    for folder, inside in names.items():
        path = f"{folder}/{'/'.join(inside)}"
        try:
            path.encode()
        except UnicodeEncodeError:
            bad = next(_join(folder, name) for name in inside if not _is_utf8(_join(folder, name)))
            raise BadFileName(
                f"{base} holds {os.fsencode(bad)!r}, a name that is not UTF-8, which no other machine is sure to "
                "write the same way. Rename the file, or name it in .gitignore or in tool.autocelery.exclude."
            ) from None
        if folder.count("/") >= DEPTH_MAX - 1:
            raise BadFileName(
                f"{base}/{folder} lies more than {DEPTH_MAX} folders deep. Exclude it from the tree."
            )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _states(known: TopMemory) -> Iterator[tuple[str, str, FileState]]:
    for folder, states in known.files.items():
        for name, state in states.items():
            yield folder, name, state


def _line(name: str, state: FileState) -> Entry:
    return Entry(name, state.kind, state.size, state.digest)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MB"


_SHIPPED = frozenset({FILE, EXECUTABLE, LINK})
assert SPECIAL not in _SHIPPED
