"""Know by a stat a folder whether the list of a tree's files can have changed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from autocelery._snapshot.junk import is_junk_file, is_junk_folder, is_never_folder
from autocelery.errors import UnreadableFile

#: A time this close, in nanoseconds, before something was read proves nothing: the clock that stamps
#: files moves in ticks of up to 10 ms, so a later change may carry the same time.
RACY = 20_000_000

Signature = tuple[int, ...]
Names = frozenset[tuple[str, bool]]


@dataclass(slots=True)
class WatchedFolder:
    """What a folder was like when its tree was listed.

    ``names`` is ``None`` if it may have changed while git was asked, so that
    they have to be asked again; ``is_settled`` is whether an equal signature
    proves equal names.
    """

    signature: Signature
    names: Names | None
    is_settled: bool


@dataclass(slots=True)
class Watch:
    """Folders by their relative path, and files whose text decides, by their absolute one."""

    folders: dict[str, WatchedFolder]
    rule_files: dict[str, Signature | None]

    @classmethod
    def over(cls, top: str, folders: Iterable[str], rule_files: Iterable[str], started: int) -> Watch:
        """Start to watch what a listing found that began at ``started`` (nanoseconds since the epoch)."""
        watched = {}
        rules = set(rule_files)
        for folder in sorted(folders):
            path = f"{top}/{folder}" if folder else top
            seen = _look(path, started)
            if seen is not None:
                watched[folder] = seen
                if seen.names is None or (".gitignore", False) in seen.names:
                    rules.add(f"{path}/.gitignore")
        return cls(watched, {path: _rule_signature(path, started) for path in sorted(rules)})

    def is_unchanged(self, top: str, now: int) -> bool:
        """Tell whether the listing still holds at ``now`` (nanoseconds since the epoch)."""
        for path, known in self.rule_files.items():
            if known is None or known != _rule_signature(path, None):
                return False
        prefix = f"{top}/"
        for folder, watched in self.folders.items():
            if watched.names is None:
                return False
            try:
                status = os.lstat(prefix + folder)
            except OSError:
                return False
            signature = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            if watched.is_settled and signature == watched.signature:
                continue
            # Editors save by renaming, which touches the folder but leaves the same names in it.
            if _names(prefix + folder) != watched.names:
                return False
            watched.signature = signature
            watched.is_settled = max(signature[:2]) < now - RACY
        return True


def _look(path: str, started: int) -> WatchedFolder | None:
    try:
        status = os.lstat(path)
        names = _names(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    signature = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    is_settled = max(signature[:2]) < started - RACY
    return WatchedFolder(signature, names if is_settled else None, is_settled)


def _names(path: str) -> Names:
    try:
        with os.scandir(path) as entries:
            return frozenset(
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in entries
                if not _is_of_no_matter(entry.name)
            )
    except PermissionError:
        raise UnreadableFile(
            f"The folder {path} belongs to the tree and cannot be read. Give this user the right to read "
            "it, or name it in .gitignore or in tool.autocelery.exclude."
        ) from None


def _is_of_no_matter(name: str) -> bool:
    # A .git that comes makes a folder a repository of its own.
    return name != ".git" and (is_never_folder(name) or is_junk_folder(name) or is_junk_file(name))


def _rule_signature(path: str, started: int | None) -> Signature | None:
    """Return what tells one text of a rule file from the next; ``None`` for one that proves nothing."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    if started is not None and max(status.st_mtime_ns, status.st_ctime_ns) >= started - RACY:
        return None
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
