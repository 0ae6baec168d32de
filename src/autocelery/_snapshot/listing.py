"""Which files belong to a tree, and what to watch to know that this has not changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from autocelery._snapshot import git, junk
from autocelery._snapshot.outside import Outside, rules_outside
from autocelery._snapshot.plain import plain_files
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.watching import Watch


@dataclass(slots=True)
class _Found:
    """What a listing gathers: paths relative to the top, folders to watch, files whose text decides."""

    files: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    rule_files: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Listing:
    """The names of a tree's files by folder (relative, ``""`` is the top), and the watch over them."""

    names: dict[str, tuple[str, ...]]
    watch: Watch


def list_tree(top: str, rules: ShipRules) -> Listing:
    """List what git would call the working tree at ``top`` (absolute), as ``rules`` change it."""
    started = time.time_ns()
    found = _Found()
    _list_repository(top, "", found)
    if not found.files:
        # No repository, or one that ignores all of this, such as a home folder kept in git.
        outside = None if found.rule_files else rules_outside(top)
        found.rule_files.update(outside.files if outside else ())
        found = _plain(top, "", found, outside)
    _include(top, rules, found)
    kept = (path for path in found.files if not rules.excludes(path))
    names = _by_folder(top, kept)
    folders = (folder for folder in found.folders if not rules.excludes(folder))
    return Listing(names, Watch.over(top, folders, found.rule_files, started))


def _list_repository(top: str, prefix: str, found: _Found) -> None:
    folder = os.path.join(top, prefix) if prefix else top
    repository = git.find_repository(folder)
    listed = git.list_files(folder) if repository else None
    is_own = repository is not None and (
        not prefix or os.path.realpath(repository.worktree) == os.path.realpath(folder)
    )
    if repository is None or listed is None or not is_own:
        if prefix:
            _plain(top, prefix, found)
        return
    found.rule_files.update(repository.rule_files)
    files = _without_environments([*listed.tracked, *_without_junk(listed.untracked)])
    _watch(folder, prefix, files, frozenset(listed.nested), found)
    found.files.update(_join(prefix, path) for path in files)
    for nested in listed.nested:
        if os.path.isdir(os.path.join(folder, nested)) and not os.path.islink(os.path.join(folder, nested)):
            _list_repository(top, _join(prefix, nested), found)


def _plain(top: str, prefix: str, found: _Found, outside: Outside | None = None) -> _Found:
    plain = plain_files(os.path.join(top, prefix) if prefix else top, outside)
    found.files.update(_join(prefix, path) for path in plain.files)
    found.folders.update(_join(prefix, path) for path in plain.folders)
    return found


def _watch(folder: str, prefix: str, files: Iterable[str], nested: frozenset[str], found: _Found) -> None:
    """Watch every folder in which a new file would belong to the tree, also those without one yet."""
    fresh = _folders_of(files) | _folders_of(nested)
    while fresh:
        found.folders.update(_join(prefix, path) for path in fresh)
        below = {
            path
            for parent in fresh
            for path in _subfolders(folder, parent)
            if _join(prefix, path) not in found.folders and path not in nested
        }
        fresh = below - git.ignored(folder, sorted(below))


def _subfolders(folder: str, parent: str) -> Iterator[str]:
    try:
        with os.scandir(os.path.join(folder, parent) if parent else folder) as entries:
            for entry in entries:
                if junk.is_never_folder(entry.name) or junk.is_junk_folder(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False) and not os.path.exists(f"{entry.path}/pyvenv.cfg"):
                    yield _join(parent, entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return


def _include(top: str, rules: ShipRules, found: _Found) -> None:
    for start in rules.include_folders:
        found.folders.add(start)
        for folder, folders, files in os.walk(os.path.join(top, start)):
            relative = os.path.relpath(folder, top)
            relative = "" if relative == "." else relative
            folders[:] = [name for name in folders if _may_be_included(top, _join(relative, name), rules)]
            found.folders.add(relative)
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            paths = (_join(relative, name) for name in [*files, *links])
            found.files.update(path for path in paths if rules.includes(path))


def _may_be_included(top: str, folder: str, rules: ShipRules) -> bool:
    """Tell whether to look for included files below ``folder``: hardly in another's virtual environment."""
    name = folder.rpartition("/")[2]
    if junk.is_never_folder(name) or not rules.leads_to(folder):
        return False
    is_junk = junk.is_junk_folder(name) or os.path.exists(f"{top}/{folder}/pyvenv.cfg")
    return not is_junk or rules.leads_to(folder, is_junk=True)


def _without_junk(paths: Iterable[str]) -> Iterator[str]:
    known: dict[str, bool] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder not in known:
            known[folder] = any(junk.is_junk_folder(part) for part in folder.split("/"))
        if not known[folder] and not junk.is_junk_file(name):
            yield path


def _without_environments(paths: list[str]) -> list[str]:
    environments = tuple(path.removesuffix("pyvenv.cfg") for path in paths if path.endswith("/pyvenv.cfg"))
    return [path for path in paths if not path.startswith(environments)] if environments else paths


def _by_folder(top: str, paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Group ``paths``; leave out what is never shipped, and what git thinks is below a link's name."""
    grouped: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if not junk.is_never_file(name):
            grouped.setdefault(folder, []).append(name)
    real: dict[str, bool] = {"": True}
    return {
        folder: tuple(sorted(names))
        for folder, names in sorted(grouped.items())
        if _is_real(top, folder, real)
    }


def _is_real(top: str, folder: str, known: dict[str, bool]) -> bool:
    if folder not in known:
        parent, _, name = folder.rpartition("/")
        path = f"{top}/{folder}"
        known[folder] = (
            _is_real(top, parent, known)
            and not junk.is_never_folder(name)
            and os.path.isdir(path)
            and not os.path.islink(path)
        )
    return known[folder]


def _folders_of(paths: Iterable[str]) -> set[str]:
    folders = {path.rpartition("/")[0] for path in paths} | {""}
    for folder in list(folders):
        above = folder
        while above:
            above = above.rpartition("/")[0]
            folders.add(above)
    return folders


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name
