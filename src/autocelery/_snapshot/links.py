"""Follow symbolic links inside a tree, by the tree alone, the same way on every machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from autocelery._snapshot.tree import FOLDER, LINK

#: As many as Linux follows.
_HOPS_MAX = 40

#: Gives (kind, link target) of a path in the tree, or ``None`` where nothing is.
Look = Callable[[str], tuple[str, str] | None]


class BadLink(Exception):
    """A link leads nowhere that a snapshot can hold; the text says how it fails."""


def follow(link: str, target: str, look: Look) -> str:
    """Return the path, relative to the tree's top, at which the link at ``link`` ends.

    Raises:
        BadLink: it leaves the tree, loops or dangles.
    """
    here = link.split("/")[:-1]
    pending = deque(_parts(target))
    hops = 1
    while pending:
        kind, onward = _step(here, pending.popleft(), look)
        if kind == LINK:
            hops += 1
            if hops > _HOPS_MAX:
                raise BadLink("loops")
            pending.extendleft(reversed(_parts(onward)))
        elif kind != FOLDER and pending:
            raise BadLink("dangles")
    return "/".join(here)


def _step(here: list[str], part: str, look: Look) -> tuple[str, str]:
    """Go from ``here`` to ``part``, unless that is a link; return what it is."""
    if part in ("", "."):
        return FOLDER, ""
    if part == "..":
        if not here:
            raise BadLink("leaves the tree")
        here.pop()
        return FOLDER, ""
    found = look("/".join([*here, part]))
    if found is None:
        raise BadLink("dangles")
    if found[0] != LINK:
        here.append(part)
    return found


def _parts(target: str) -> list[str]:
    if target.startswith("/"):
        raise BadLink("leaves the tree")
    return target.split("/")
