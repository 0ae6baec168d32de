"""The working tree of a folder that git does not know: `.gitignore` rules, without the usual junk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from autocelery._snapshot import junk
from autocelery._snapshot.ignoring import IgnoreFile, read_ignore_file
from autocelery._snapshot.outside import Outside


@dataclass(slots=True)
class PlainFiles:
    """Paths relative to the folder that was walked."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def plain_files(top: str, outside: Outside | None = None) -> PlainFiles:
    """Return the files of the tree at ``top``, and the folders in which one more would count.

    Args:
        top: absolute.
        outside: the rules that hold for the tree and lie above it, if there are any.
    """
    outside = outside or Outside(top, "")
    start = outside.start
    skip = len(start) + 1 if start else 0
    found = PlainFiles()
    pending: list[tuple[str, IgnoreFile | None]] = [(start, outside.ignore)]
    while pending:
        folder, ignore = pending.pop()
        prefix = f"{folder}/" if folder else ""
        entries = _entries(f"{outside.root}/{folder}")
        names = {entry.name for entry in entries}
        if folder != start and junk.is_virtual_environment(names):
            continue
        found.folders.append(folder[skip:])
        if ".gitignore" in names and any(map(_is_ignore_file, entries)):
            ignore = read_ignore_file(f"{outside.root}/{prefix}.gitignore", prefix, ignore)
        builds = junk.build_folders(names) if folder == start else frozenset()
        for entry in entries:
            path = prefix + entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if _is_junk(entry.name, is_folder, builds) or (ignore and ignore.ignores(path, is_folder)):
                continue
            if is_folder:
                pending.append((path, ignore))
            else:
                found.files.append(path[skip:])
    return found


def _is_ignore_file(entry: os.DirEntry[str]) -> bool:
    return entry.name == ".gitignore" and entry.is_file(follow_symlinks=False)


def _is_junk(name: str, is_folder: bool, builds: frozenset[str]) -> bool:
    if is_folder:
        return junk.is_never_folder(name) or junk.is_junk_folder(name) or name in builds
    return junk.is_junk_file(name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # What is gone belongs to nothing; what is closed is reported by the watch, which names it.
        return []
