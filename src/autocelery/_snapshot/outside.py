"""What a repository's rules outside of a tree say about it, where git cannot be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass

from autocelery._snapshot.ignoring import IgnoreFile, read_ignore_file


@dataclass(frozen=True, slots=True)
class Outside:
    """Where rules begin: ``root``, and the path of the tree from there (empty if it is the root itself).

    ``ignore`` are the rules above the tree, ``files`` those that they can be read from, of which not all
    need exist.
    """

    root: str
    start: str
    ignore: IgnoreFile | None = None
    files: tuple[str, ...] = ()


def rules_outside(top: str) -> Outside:
    """Return the rules that the repository around ``top`` (absolute, no link) has outside of it.

    There are none if there is no repository, or if it ignores ``top``, such as a home folder kept in git.
    """
    root = _worktree(top)
    if root is None:
        return Outside(top, "")
    start = "" if root == top else os.path.relpath(top, root)
    exclude = f"{root}/.git/info/exclude"
    files, ignore, prefix = [exclude], None, ""
    if os.path.isfile(exclude):
        ignore = read_ignore_file(exclude, "", None)
    for name in start.split("/") if start else ():
        path = f"{root}/{prefix}.gitignore"
        files.append(path)
        if os.path.isfile(path) and not os.path.islink(path):
            ignore = read_ignore_file(path, prefix, ignore)
        if ignore is not None and ignore.ignores(f"{prefix}{name}", is_folder=True):
            return Outside(top, "", None, tuple(files))
        prefix += f"{name}/"
    return Outside(root, start, ignore, tuple(files))


def _worktree(top: str) -> str | None:
    folder = top
    while not (os.path.exists(f"{folder}/.git/HEAD") or os.path.isfile(f"{folder}/.git")):
        if folder == os.path.dirname(folder):
            return None
        folder = os.path.dirname(folder)
    return folder
