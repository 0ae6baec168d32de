"""The working tree of a folder that git does not know: `.gitignore` rules, without the usual junk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autocelery._snapshot import junk

if TYPE_CHECKING:
    import pathspec


@dataclass(slots=True)
class PlainFiles:
    """Paths relative to the folder that was walked."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Ignore:
    """The rules of one ``.gitignore``; those of the folders above count where it says nothing."""

    prefix: str
    spec: pathspec.GitIgnoreSpec
    above: _Ignore | None

    def covers(self, path: str) -> bool:
        verdict = self.spec.check_file(path[len(self.prefix) :]).include
        if verdict is not None:
            return verdict
        return self.above is not None and self.above.covers(path)


def plain_files(top: str) -> PlainFiles:
    """Return the files of the tree at ``top``, and the folders in which one more would count."""
    found = PlainFiles()
    pending: list[tuple[str, _Ignore | None]] = [("", None)]
    while pending:
        folder, ignore = pending.pop()
        entries = _entries(f"{top}/{folder}" if folder else top)
        names = {entry.name for entry in entries}
        if folder and junk.is_virtual_environment(names):
            continue
        found.folders.append(folder)
        prefix = f"{folder}/" if folder else ""
        if ".gitignore" in names:
            ignore = _read(f"{top}/{prefix}.gitignore", prefix, ignore)
        builds = frozenset() if folder else junk.build_folders(names)
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if not (_is_left_out(entry.name) or entry.name in builds or _ignores(ignore, f"{path}/")):
                    pending.append((path, ignore))
            elif not (junk.is_junk_file(entry.name) or _ignores(ignore, path)):
                found.files.append(path)
    return found


def _is_left_out(name: str) -> bool:
    return junk.is_never_folder(name) or junk.is_junk_folder(name)


def _ignores(ignore: _Ignore | None, path: str) -> bool:
    return ignore is not None and ignore.covers(path)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        # What is gone belongs to nothing; what is closed is reported by the watch, which names it.
        return []


def _read(path: str, prefix: str, above: _Ignore | None) -> _Ignore | None:
    import pathspec  # 70 ms, which only folders that git does not know have to pay

    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return _Ignore(prefix, pathspec.GitIgnoreSpec.from_lines(file), above)
    except (OSError, ValueError):
        return above
