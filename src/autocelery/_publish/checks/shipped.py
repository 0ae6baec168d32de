"""What is shipped, by its place on this disk, and why something else is not."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from autocelery._snapshot import tree as trees
from autocelery._snapshot.collected import CollectedTree
from autocelery._snapshot.rules import ShipRules

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected

_SITE = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class Shipped:
    """The roots of a snapshot by their places here; all paths are absolute and real.

    ``tops`` has the working tree first. ``folders`` are those with a shipped file
    somewhere below, ``withheld`` files that look like secrets.
    """

    tops: tuple[str, ...]
    import_folders: tuple[str, ...]
    cwd: str
    files: dict[str, int]
    folders: frozenset[str]
    links: frozenset[str]
    withheld: frozenset[str]
    #: Where modules were found, which is asked for many times.
    places: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, collected: Collected) -> Shipped:
        """Return what ``collected`` ships."""
        placed = list(zip(collected.roots.roots, collected.trees, strict=False))
        tops = {root.name: str(root.top) for root, _ in placed}
        files: dict[str, int] = {}
        folders: set[str] = set()
        links: set[str] = set()
        withheld: set[str] = set()
        for root, tree in placed:
            top = str(root.top)
            folders.add(top)
            withheld.update(f"{top}/{path}" for path in tree.withheld)
            for path, kind, size in _entries(tree):
                place = f"{top}/{path}"
                if kind == trees.FOLDER:
                    folders.add(place)
                elif kind == trees.LINK:
                    links.add(place)
                else:
                    files[place] = size
        return cls(
            tops=tuple(tops.values()),
            import_folders=tuple(_placed(path, tops) for path in collected.manifest.paths),
            cwd=_placed(collected.manifest.cwd, tops),
            files=files,
            folders=frozenset(folders),
            links=frozenset(links),
            withheld=frozenset(withheld),
        )

    def has(self, path: str) -> bool:
        """Whether the file or folder at ``path`` is shipped, under this name or through a link."""
        if path in self.files or path in self.folders or path in self.links:
            return True
        real = os.path.realpath(path)
        return real in self.files or real in self.folders

    def top_of(self, path: str) -> str | None:
        """Return the root that ``path`` lies in."""
        return next((top for top in self.tops if path == top or path.startswith(f"{top}/")), None)

    def shown(self, path: str) -> str:
        """Return ``path`` as people read it: relative to the working tree, if it is in there."""
        return os.path.relpath(path, self.tops[0]) if self.top_of(path) == self.tops[0] else path

    def why_not(self, path: str) -> tuple[str, str]:
        """Return why a file that is there is not shipped, and the mend."""
        top = self.top_of(path)
        if top is None:
            return (
                "it lies outside the tree",
                "Copy it into the tree, or have the task get it from elsewhere.",
            )
        relative = os.path.relpath(path, top)
        name = f'include = ["{relative}"]'
        if path in self.withheld:
            mend = f"Have the workers provide it, or name it in pyproject.toml: [tool.autocelery] {name}"
            return "it looks like a secret", mend
        if ShipRules.read(top).excludes(relative):
            return "[tool.autocelery] exclude leaves it out", "Take it out of exclude in pyproject.toml."
        if path.endswith((".pyc", ".pyo")):
            return "compiled code is not", "Ship its source."
        if os.path.isdir(path):
            name = f'include = ["{relative}/**"]'
        mend = f"If it is no secret, in pyproject.toml: [tool.autocelery] {name}"
        return "git ignores it, or it is what tools leave", mend


def is_of_environment(path: str, top: str) -> bool:
    """Whether ``path``, below ``top``, is Python's own or an installed package's: a venv may lie in the tree."""
    if any(path.startswith(f"{each}/") for each in _environment() if each.startswith(f"{top}/")):
        return True
    folder = os.path.dirname(path)
    while len(folder) > len(top):
        if os.path.basename(folder) in _SITE or os.path.exists(f"{folder}/pyvenv.cfg"):
            return True
        folder = os.path.dirname(folder)
    return False


@cache
def _environment() -> tuple[str, ...]:
    found = [
        sys.prefix,
        sys.base_prefix,
        *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")),
    ]
    return tuple(dict.fromkeys(os.path.realpath(each) for each in found))


def _placed(path: str, tops: dict[str, str]) -> str:
    """Return where a path of the layout is here."""
    root, _, rest = path.partition("/")
    top = tops.get(root, next(iter(tops.values())))
    return str(Path(top, rest)) if rest else top


def _entries(tree: CollectedTree) -> Iterator[tuple[str, str, int]]:
    """Yield (path, kind, size) of everything in ``tree``."""
    pending = [("", tree.digest)]
    while pending:
        folder, digest = pending.pop()
        for entry in trees.decode(tree.nodes[digest]):
            path = f"{folder}{entry.name}"
            if entry.kind == trees.FOLDER:
                pending.append((f"{path}/", entry.digest))
            yield path, entry.kind, entry.size
