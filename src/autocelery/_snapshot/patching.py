"""Turn the layout of one snapshot into that of the next: an edit costs the files it touched, not the tree."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from autocelery._model import Manifest
from autocelery._snapshot import layout, tree
from autocelery._snapshot.trees import DEPTH_MAX, check_node


@dataclass(frozen=True, slots=True)
class Edit:
    """Files whose contents differ between two snapshots that are otherwise the same.

    ``files`` are (path in the layout, digest, size in bytes) as they become,
    ``chunked`` the chunk lists of the large ones by the files' digests,
    ``replaced`` the digests of what they were; ``new`` and ``old`` are the
    nodes that only one of the two has.
    """

    files: tuple[tuple[str, str, int], ...]
    chunked: Mapping[str, str]
    new: frozenset[str]
    old: frozenset[str]
    replaced: frozenset[str]


def edit_between(
    before: Manifest,
    after: Manifest,
    kept: Callable[[Collection[str]], Mapping[str, bytes] | None],
    nodes: Callable[[Collection[str]], Mapping[str, bytes]],
) -> Edit | None:
    """Return how ``after`` differs from ``before``, or ``None`` if in more than the contents of plain files.

    ``None`` too where nobody knows any more what ``before`` was.

    Names, kinds, links and import paths are the same then, so that what made
    the one layout safe makes the other safe as well.

    Args:
        before: of a snapshot that is laid out.
        after: of the one that is wanted.
        kept: gives tree nodes of ``before`` by their digests, a level at a time; ``None`` if one is gone.
        nodes: gives those of ``after``.

    Raises:
        SnapshotInvalid: a node is malformed or contradicts its digest.
        SnapshotIncomplete: a node is nowhere.
    """
    if (before.paths, before.cwd) != (after.paths, after.cwd):
        return None
    if [root.name for root in before.roots] != [root.name for root in after.roots]:
        return None
    pairs = [(old.name, old.tree, new.tree) for old, new in zip(before.roots, after.roots, strict=True)]
    files: list[tuple[str, str, int]] = []
    chunked: dict[str, str] = {}
    new: set[str] = set()
    old: set[str] = set()
    replaced: set[str] = set()
    for _depth in range(DEPTH_MAX):
        pairs = [pair for pair in pairs if pair[1] != pair[2]]
        if not pairs:
            only = frozenset(new - old), frozenset(old - new)
            return Edit(tuple(files), chunked, *only, frozenset(replaced))
        were = kept({was for _, was, _ in pairs})
        if were is None:
            return None
        raw = {**were, **nodes({now for _, _, now in pairs})}
        deeper: list[tuple[str, str, str]] = []
        for path, was, now in pairs:
            old.add(was)
            new.add(now)
            found = _changes(path, *(tree.decode(check_node(each, raw[each])) for each in (was, now)))
            if found is None:
                return None
            files += found[0]
            deeper += found[1]
            replaced |= found[2]
            chunked |= found[3]
        pairs = deeper
    return None


def times_of(place: Path) -> dict[str, int]:
    """Return, for each folder of a layout, when an entry was last added, removed or renamed, in nanoseconds."""
    times: dict[str, int] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(f"{place}/{folder}") as entries:
            folders += [f"{folder}{entry.name}/" for entry in entries if entry.is_dir(follow_symlinks=False)]
        times[folder] = os.lstat(f"{place}/{folder}".rstrip("/")).st_mtime_ns
    return times


def is_untouched(place: Path, times: Mapping[str, int]) -> bool:
    """Tell whether the folders have the entries that they had at ``times``.

    What a task wrote beside its code must not be found by the next version,
    and a folder that it replaced with a link must not be written through.
    """
    try:
        found = {folder: os.lstat(f"{place}/{folder}".rstrip("/")) for folder in times}
    except OSError:
        return False
    return all(
        stat.S_ISDIR(status.st_mode) and status.st_mtime_ns == times[folder]
        for folder, status in found.items()
    )


def times_after(edit: Edit, place: Path, times: Mapping[str, int]) -> dict[str, int]:
    """Return the times of the layout at ``place``, which was made by ``edit`` from one with ``times``."""
    touched = {"", *(path.rpartition("/")[0] + "/" for path, _, _ in edit.files)}
    return {**times, **{each: os.lstat(f"{place}/{each}".rstrip("/")).st_mtime_ns for each in touched}}


def patch(place: Path, edit: Edit, blob: Callable[[str], Path], to: Path) -> Path | None:
    """Make the layout at ``place`` the one at ``to``; ``None``, and nothing is left, if the disk fails.

    Args:
        place: the layout of the earlier snapshot, out of sight already, which nobody uses.
        edit: what `edit_between` found.
        blob: gives the file with a blob's bytes by its digest.
        to: where the later snapshot belongs, on the same file system.

    Raises:
        SnapshotIncomplete: a blob is nowhere.
    """
    try:
        for path, digest, size in edit.files:
            target = f"{place}/{path}"
            os.unlink(target)
            layout.link_or_copy(os.fspath(blob(digest)), target, digest, size)
        place.rename(to)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)
        return None
    return to


def _changes(
    folder: str, before: tuple[tree.Entry, ...], after: tuple[tree.Entry, ...]
) -> tuple[list[tuple[str, str, int]], list[tuple[str, str, str]], set[str], dict[str, str]] | None:
    if [entry[:2] for entry in before] != [entry[:2] for entry in after]:
        return None
    files: list[tuple[str, str, int]] = []
    folders: list[tuple[str, str, str]] = []
    replaced: set[str] = set()
    chunked: dict[str, str] = {}
    for old, new in zip(before, after, strict=True):
        if old.digest == new.digest:
            continue
        if new.kind == tree.FILE:
            files.append((f"{folder}/{new.name}", new.digest, new.size))
            replaced.add(old.digest)
            if new.chunks:
                chunked[new.digest] = new.chunks
        elif new.kind == tree.FOLDER:
            folders.append((f"{folder}/{new.name}", old.digest, new.digest))
        else:
            return None
    return files, folders, replaced, chunked
