"""Collect one root: find its files, read what changed, encode the nodes on the path of the change."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from pathlib import Path

from autocelery._snapshot.chunking import WHOLE_MAX
from autocelery._snapshot.collected import CollectedTree
from autocelery._snapshot.encoding import SHIPPED, encode_tree, entry_of, joined, states_of
from autocelery._snapshot.listing import list_tree
from autocelery._snapshot.reading import SECRET, FileState, read_state, signature_of
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.secrecy import NAME, is_secret_name
from autocelery._snapshot.stat_memory import StatMemory, TopMemory
from autocelery._snapshot.trees import DEPTH_MAX
from autocelery.errors import BadFileName, TreeTooLarge, UnreadableFile

_LARGEST_NAMED = 10


def collect(
    top: Path,
    *,
    memory: StatMemory,
    limit: int,
    rules: ShipRules,
    told: Callable[[int, int], None] = lambda _done, _total: None,
) -> CollectedTree:
    """Return the working tree at ``top`` as it is now.

    Where nothing changed since the last time this is a stat a file and a
    folder, and the same object as before.

    Args:
        top: the folder that becomes the root.
        memory: what was learned the last times.
        limit: bytes that the tree may have, unless ``rules.max_size`` says otherwise.
        rules: what the project adds and leaves out.
        told: is told how many bytes were read, and of how many, while large files are.

    Raises:
        EmptyTree, TreeTooLarge, UnreadableFile, FileKeepsChanging, BadFileName, UnsafeSymlink:
            the tree cannot be shipped as it is; nothing was sent.
    """
    base = os.path.realpath(top)
    if not os.path.isdir(base):
        raise UnreadableFile(
            f"{top} is not a folder, so there is no code to ship from it. Name one that is there: "
            "AUTOCELERY_ROOT, Autocelery(app, top=...) or --workdir."
        )
    limit = rules.max_size or limit
    with memory.of(base) as known:
        is_relisted = _refresh_listing(base, known, rules)
        stale = _stale(base, known)
        if known.tree is None or stale or known.tree.size > limit:
            _check_size(base, known, stale, limit)
        try:
            dirty = _read(base, known, stale, rules, told)
            if known.tree is None or dirty:
                known.tree = encode_tree(base, known, dirty)
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
            _drop_nodes(known, folder)
    known.files = {folder: known.files.get(folder, {}) for folder in listing.names}
    for folder, names in listing.names.items():
        states = known.files[folder]
        for gone in states.keys() - set(names):
            del states[gone]
    known.listing, known.rules, known.tree = listing, rules, None
    return True


def _drop_nodes(known: TopMemory, folder: str) -> None:
    known.nodes.pop(folder, None)
    while folder:
        folder = folder.rpartition("/")[0]
        known.nodes.pop(folder, None)


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
            except (FileNotFoundError, NotADirectoryError):
                if state is not None:
                    stale.append((folder, name, -1))
                continue
            except OSError:
                # Reading it will say, with its name, what is wrong.
                stale.append((folder, name, 0))
                continue
            if state is None or not state[1] or state[0] != (
                status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode,
            ):  # fmt: skip
                stale.append((folder, name, status.st_size))
    return stale


def _check_size(base: str, known: TopMemory, stale: list[tuple[str, str, int]], limit: int) -> None:
    """Refuse a tree over the limit before any of it is read."""
    sizes = {
        joined(folder, name): state.size for folder, name, state in states_of(known) if state.kind in SHIPPED
    }
    for folder, name, size in stale:
        path = joined(folder, name)
        is_known = name in known.files[folder]
        if size < 0 or (not is_known and is_secret_name(path) and not _is_named(known, path)):
            sizes.pop(path, None)
        elif path in sizes or not is_known:
            sizes[path] = size
    total = sum(sizes.values())
    if total > limit:
        raise TreeTooLarge(_too_large(base, sizes, total, limit))


def _is_named(known: TopMemory, path: str) -> bool:
    return known.rules is not None and known.rules.names(path)


def _too_large(base: str, sizes: dict[str, int], total: int, limit: int) -> str:
    largest = heapq.nlargest(_LARGEST_NAMED, sizes.items(), key=lambda item: item[1])
    lines = "\n".join(f"  {_megabytes(size):>10}  {path}" for path, size in largest)
    return (
        f"The tree {base} has {_megabytes(total)}, and the limit is {_megabytes(limit)}. "
        f"Its largest files:\n{lines}\n"
        "Name what the tasks do not need in .gitignore or in tool.autocelery.exclude in pyproject.toml, or "
        "raise AUTOCELERY_TREE_MAX or tool.autocelery.max_size."
    )


def _read(
    base: str,
    known: TopMemory,
    stale: list[tuple[str, str, int]],
    rules: ShipRules,
    told: Callable[[int, int], None],
) -> set[str]:
    """Read the stale files; return the folders of which a node has to be made."""
    assert known.listing is not None
    done, total = 0, sum(size for _, _, size in stale if size > WHOLE_MAX)

    def count(read: int) -> None:
        nonlocal done
        done += read
        told(done, total)

    dirty = {folder for folder in known.listing.names if folder not in known.nodes}
    for folder, name, _size in stale:
        path = joined(folder, name)
        states = known.files[folder]
        before = states.get(name)
        after = _state(base, path, rules, count)
        if after is None:
            states.pop(name, None)
        else:
            states[name] = after
        if (
            before is None
            or after is None
            or entry_of(name, before) != entry_of(name, after)
            or after.imports != before.imports
        ):
            dirty.add(folder)
    return dirty


def _state(base: str, path: str, rules: ShipRules, told: Callable[[int], None]) -> FileState | None:
    if not is_secret_name(path) or rules.names(path):
        return read_state(base, path, not rules.names(path), told)
    try:
        return FileState(signature_of(os.lstat(f"{base}/{path}")), True, SECRET, NAME)
    except OSError:
        return None


def _check_names(base: str, names: dict[str, tuple[str, ...]]) -> None:
    for folder, inside in names.items():
        path = f"{folder}/{'/'.join(inside)}"
        try:
            path.encode()
        except UnicodeEncodeError:
            bad = next(joined(folder, name) for name in inside if not _is_utf8(joined(folder, name)))
            raise BadFileName(
                f"{base} holds {os.fsencode(bad)!r}, a name that is not UTF-8, which no other machine is "
                "sure to write the same way. Rename the file, or name it in .gitignore or in "
                "tool.autocelery.exclude."
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


def _megabytes(size: int) -> str:
    for unit, bytes_in_it in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if size >= bytes_in_it:
            return f"{size / bytes_in_it:.1f} {unit}"
    return f"{size} B"
