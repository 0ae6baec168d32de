"""Check the links of a tree that was collected."""

from __future__ import annotations

from collections.abc import Mapping

from autocelery._snapshot.links import BadLink, follow
from autocelery._snapshot.reading import SECRET, SPECIAL, FileState
from autocelery._snapshot.tree import FOLDER, LINK
from autocelery.errors import UnsafeSymlink

_HINT = {
    "leaves the tree": "Copy what it leads to into the tree",
    "loops": "Mend it",
    "dangles": "Mend it, or take what it leads to out of .gitignore or into tool.autocelery.include",
}


def withheld_links(
    base: str, files: Mapping[str, Mapping[str, FileState]], withheld: frozenset[str]
) -> frozenset[str]:
    """Return the links that lead to a file that is withheld, or to a folder of nothing else.

    Raises:
        UnsafeSymlink: a link leaves the tree, loops, or leads to what is not shipped.
    """
    links = [
        (f"{folder}/{name}" if folder else name, state.digest)
        for folder, states in files.items()
        for name, state in states.items()
        if state.kind == LINK
    ]
    if not links:
        return frozenset()
    places, shipped = _places(files), _shipped_folders(files)
    hidden = set()
    for link, target in links:
        try:
            end = follow(link, target, places.get)
        except BadLink as problem:
            raise UnsafeSymlink(
                f"The link {base}/{link} -> {target} {problem}, so it would not work on a worker. "
                f"{_HINT[str(problem)]}, or name the link in .gitignore or in tool.autocelery.exclude."
            ) from None
        if end in withheld or (places[end][0] == FOLDER and end not in shipped):
            hidden.add(link)
    return frozenset(hidden)


def _places(files: Mapping[str, Mapping[str, FileState]]) -> dict[str, tuple[str, str]]:
    """Return (kind, target) of every path, withheld ones too."""
    places: dict[str, tuple[str, str]] = {"": (FOLDER, "")}
    for folder, states in files.items():
        for name, state in states.items():
            if state.kind != SPECIAL:
                places[f"{folder}/{name}" if folder else name] = (state.kind, state.digest)
                _add_folders(folder, places)
    return places


def _add_folders(folder: str, places: dict[str, tuple[str, str]]) -> None:
    while folder and folder not in places:
        places[folder] = (FOLDER, "")
        folder = folder.rpartition("/")[0]


def _shipped_folders(files: Mapping[str, Mapping[str, FileState]]) -> dict[str, tuple[str, str]]:
    shipped: dict[str, tuple[str, str]] = {"": (FOLDER, "")}
    for folder, states in files.items():
        if any(state.kind not in (SPECIAL, SECRET) for state in states.values()):
            _add_folders(folder, shipped)
    return shipped
