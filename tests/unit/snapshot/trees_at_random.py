"""Generated working trees: odd names, contents, modes, links and empty folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from autocelery._snapshot import junk
from autocelery._snapshot.secrecy import is_secret_name

_LETTERS = st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",))
_NAMES = st.one_of(
    st.sampled_from(
        ["a", "b", "pkg", "é", "e\u0301", " ", "-", "a b", "'", '"', "\\", "\n", "*", "日本", "x.py"]
    ),
    st.text(_LETTERS, min_size=1, max_size=12),
).filter(lambda name: name not in (".", "..") and _is_ordinary(name))
#: Names are also drawn from constants in the code under test, so those that mean something there are left out.
_RULES = (junk.is_never_folder, junk.is_never_file, junk.is_junk_folder, junk.is_junk_file, is_secret_name)
_PROJECT_FILES = {"build", "dist", "pyvenv.cfg", "pyproject.toml", "setup.py", "setup.cfg", "thumbs.db"}
_CONTENTS = st.one_of(
    st.binary(max_size=40), st.sampled_from([b"", b"import os\n", b"\0", b"same", b"x" * 5000])
)


@dataclass(frozen=True)
class Tree:
    """``files`` by their path: (bytes, is executable); ``links`` by theirs; ``empty`` folders."""

    files: Mapping[str, tuple[bytes, bool]]
    links: Mapping[str, str] = field(default_factory=dict)
    empty: tuple[str, ...] = ()

    def write(self, top: Path, backwards: bool = False) -> Path:
        """Make the tree at ``top``, which must not exist, in one order or the other."""
        top.mkdir(parents=True)
        for path, (raw, is_executable) in sorted(self.files.items(), reverse=backwards):
            file = top / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(raw)
            file.chmod(0o755 if is_executable else 0o644)
        for path, target in sorted(self.links.items(), reverse=backwards):
            os.symlink(target, top / path)
        for path in self.empty:
            (top / path).mkdir(parents=True, exist_ok=True)
        return top


def read_back(top: Path) -> Tree:
    """Return the tree that lies at ``top``, without its empty folders."""
    files, links = {}, {}
    for folder, folders, names in os.walk(top):
        for name in [*names, *folders]:
            path = Path(folder) / name
            relative = str(path.relative_to(top))
            if path.is_symlink():
                links[relative] = os.readlink(path)
            elif path.is_file():
                files[relative] = (path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return Tree(files, links)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Draw a tree with at least one file, and with links that lead to what is in it."""
    paths = draw(st.lists(st.lists(_NAMES, min_size=1, max_size=4), min_size=1, max_size=12))
    files: dict[str, tuple[bytes, bool]] = {}
    folders: set[str] = set()
    for parts in paths:
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        path = "/".join(parts)
        if above & files.keys() or path in folders or path in files:
            continue
        folders |= above
        files[path] = (draw(_CONTENTS), draw(st.booleans()))
    links = {}
    for number, end in enumerate(draw(st.lists(st.sampled_from(sorted({*files, *folders})), max_size=3))):
        folder = draw(st.sampled_from(["", *sorted(folders)]))
        link = f"{folder}/to-{number}" if folder else f"to-{number}"
        links[link] = os.path.relpath(end, folder or ".")
    empty = tuple(f"void-{number}/deep" for number in range(draw(st.integers(0, 2))))
    return Tree(files, links, empty)


def _is_ordinary(name: str) -> bool:
    """Tell whether no rule about junk or secrets concerns the name; those have tests of their own."""
    lowered = name.lower()
    return not (
        lowered.startswith((".", "to-", "void-"))
        or any(rule(each) for rule in _RULES for each in (name, lowered))
        or lowered in _PROJECT_FILES
        or len(name.encode()) > 200
    )
