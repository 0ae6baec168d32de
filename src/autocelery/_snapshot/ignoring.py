"""What the `.gitignore` files of a tree leave out, as git reads them: its ``dir.c``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from autocelery._snapshot.wildmatch import Matcher, matcher

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class _Rule:
    """One line. ``of_names`` is whether it is about the last part of a path, wherever that lies."""

    matches: Matcher
    ignores: bool
    of_folders: bool
    of_names: bool


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """The rules of one ``.gitignore``, last one first; those ``above`` decide where it says nothing.

    ``skip`` is the length of the folder's path, with its slash, relative to the top.
    """

    skip: int
    rules: tuple[_Rule, ...]
    above: IgnoreFile | None

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Tell whether git ignores ``path`` itself.

        Args:
            path: relative to the top, without a slash at its end, below the folder of this file. No
                folder above it may be ignored: git does not look into those, whatever is said below.
            is_folder: whether it is a folder, and no link to one.
        """
        raw = os.fsencode(path)
        name = raw[raw.rfind(b"/") + 1 :]
        file: IgnoreFile | None = self
        while file is not None:
            relative = raw[file.skip :]
            for rule in file.rules:
                if (is_folder or not rule.of_folders) and rule.matches(name if rule.of_names else relative):
                    return rule.ignores
            file = file.above
        return False


def read_ignore_file(path: str, prefix: str, above: IgnoreFile | None) -> IgnoreFile | None:
    """Return the rules in the file at ``path``, which holds for what is below ``prefix``, and those ``above``.

    Args:
        path: absolute, of a file and no link: git does not follow those.
        prefix: of the file's folder, relative to the top and with a slash at its end, or empty.
        above: the rules of the folders above, if there are any.
    """
    try:
        with open(path, "rb") as file:
            rules = tuple(_rules(file.read()))
    except OSError:  # git goes on without a file that it cannot read
        return above
    return IgnoreFile(len(os.fsencode(prefix)), rules[::-1], above) if rules else above


def _rules(raw: bytes) -> Iterator[_Rule]:
    for line in raw.removeprefix(_BYTE_ORDER_MARK).split(b"\n"):
        if line.startswith(b"#"):
            continue
        rule = _rule(_without_spaces(line.removesuffix(b"\r").partition(b"\0")[0]))
        if rule is not None:
            yield rule


def _without_spaces(line: bytes) -> bytes:
    """Return ``line`` without the spaces at its end; a backslash keeps the one after it."""
    bare = line.rstrip(b" ")
    backslashes = len(bare) - len(bare.rstrip(b"\\"))
    return line[: len(bare) + 1] if backslashes % 2 else bare


def _rule(line: bytes) -> _Rule | None:
    glob = line.removeprefix(b"!")
    of_folders = glob.endswith(b"/")
    glob = glob.removesuffix(b"/")
    if not glob:
        return None
    of_names = b"/" not in glob
    matches = matcher(glob if of_names else glob.removeprefix(b"/"), of_names)
    return matches and _Rule(matches, not line.startswith(b"!"), of_folders, of_names)
