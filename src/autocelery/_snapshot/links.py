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
    if target.startswith("/"):
        raise BadLink("leaves the tree")
    here = link.split("/")[:-1]
    pending = deque(target.split("/"))
    hops = 1
    kind = FOLDER
    while pending:
        part = pending.popleft()
        if kind != FOLDER:
            raise BadLink("dangles")
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                raise BadLink("leaves the tree")
            here.pop()
            continue
        found = look("/".join([*here, part]))
        if found is None:
            raise BadLink("dangles")
        kind, onward = found
        if kind != LINK:
            here.append(part)
            continue
        hops += 1
        if hops > _HOPS_MAX:
            raise BadLink("loops")
        if onward.startswith("/"):
            raise BadLink("leaves the tree")
        pending.extendleft(reversed(onward.split("/")))
        kind = FOLDER
    return "/".join(here)
