"""Generated trees with `.gitignore` files at several levels, whose patterns often mean something in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

_PLAIN = st.sampled_from(["a", "b", "c", "ab", "data", "a.py", "b.py", "c.log"])
_ODD = st.text(st.sampled_from("ab.#! \\[]*?-^:é\t\n\r\v\xa0"), min_size=1, max_size=3).filter(
    lambda name: name not in (".", "..") and not name.startswith(".#")
)
_NAMES = st.one_of(_PLAIN, _PLAIN, _PLAIN, _ODD)
_CLASSES = [
    "[ab]",
    "[!a]",
    "[^b]",
    "[a-c]",
    "[c-a]",
    "[]a]",
    "[!]a]",
    "[a\\-c]",
    "[\\]]",
    "[--b]",
    "[a-]",
    "[/]",
    "[:a:]",
]
_NAMED_CLASSES = ["[[:alpha:]]", "[![:space:]]", "[[:punct:]]", "[[:bad:]]", "[[:alpha:]"]
_ESCAPES = ["\\", "\\*", "\\a", "\\#", "\\!", "\\ ", "\\\\"]
_BYTES = ["a", "b", ".", ".py", "[", "[a", "]", "#", "!", " ", "-", "^", "é", "\t", "\xa0", "\v"]
_ATOMS = st.sampled_from(["*", "*", "?", "**", "***", *_CLASSES, *_NAMED_CLASSES, *_ESCAPES, *_BYTES])
_SEGMENTS = st.one_of(
    _PLAIN, _PLAIN, st.sampled_from(["*", "**", "*.py", "?", "a*", ""]), st.lists(_ATOMS, max_size=4).map("".join)
)  # fmt: skip
#: Before 2.52, git takes what follows the letters of ``a**/b`` for ``**/b``: https://github.com/git/git/commit/1940a02dc1
_OTHERWISE_IN_OLD_GIT = re.compile(r"!?/?[^*?\[\\]*[^*?\[\\/]\*\*")


def _is_the_same_in_every_git(line: str) -> bool:
    return not _OTHERWISE_IN_OLD_GIT.match(line)


@st.composite
def _lines(draw: st.DrawFn) -> str:
    path = "/".join(draw(st.lists(_SEGMENTS, min_size=1, max_size=3)))
    before = draw(
        st.sampled_from(["", "", "", "", "/", "/", "**/", "!", "!", "!", "!/", "#", "\\#", "\\!", " "])
    )
    after = draw(
        st.sampled_from(["", "", "", "", "/", "/", "/**", "/*", " ", "  ", "\\ ", "\\  ", "\t", "\r", "/ "])
    )
    return f"{before}{path}{after}"


#: One line of a ``.gitignore`` each.
patterns = _lines().filter(_is_the_same_in_every_git)


@dataclass(frozen=True)
class IgnoringTree:
    """The paths of empty files, and the texts of ``.gitignore`` files by their folder (``""`` is the top)."""

    files: frozenset[str]
    ignores: Mapping[str, str]

    def write(self, top: Path) -> Path:
        """Make the tree at ``top``, which must not exist."""
        top.mkdir()
        for path in self.files:
            (top / path).parent.mkdir(parents=True, exist_ok=True)
            (top / path).touch()
        for folder, text in self.ignores.items():
            (top / folder / ".gitignore").write_bytes(text.encode())
        return top


@st.composite
def ignoring_trees(draw: st.DrawFn) -> IgnoringTree:
    """Draw a tree of which some is ignored."""
    files: set[str] = set()
    folders = {""}
    for parts in draw(st.lists(st.lists(_NAMES, min_size=1, max_size=4), min_size=2, max_size=12)):
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        path = "/".join(parts)
        if above & files or path in folders:
            continue
        folders |= above
        files.add(path)
    places = draw(st.lists(st.sampled_from(sorted(folders)), min_size=1, max_size=4, unique=True))
    ends = st.sampled_from(["\n", "\n", "\n", "\r\n", ""])
    texts = st.builds(
        lambda lines, end: "\n".join(lines) + end, st.lists(patterns, min_size=1, max_size=4), ends
    )
    starts = st.sampled_from(["", "", "", "", "\ufeff"])
    return IgnoringTree(frozenset(files), {place: draw(starts) + draw(texts) for place in places})
