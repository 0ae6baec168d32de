"""What a process has looked for while it imported: another set of packages might have answered otherwise."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Noticing(importlib.metadata.DistributionFinder):
    """Stands last on ``sys.meta_path``, finds nothing, and notes what it is asked for.

    As the last it hears of every module that no other finder has, and of
    every distribution that is looked up by name, found or not. Who looks for
    plug-ins has all distributions looked through: then the groups of entry points
    count that were asked for, and anything that the rest has does not.
    """

    def __init__(self) -> None:
        self.missed: set[str] = set()
        self.distributions: set[str] = set()
        self.groups: set[str] = set()
        self.has_scanned = False

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Note a module that is not there."""
        self.missed.add(fullname.partition(".")[0])

    def find_distributions(self, context: Any = None) -> Iterator[importlib.metadata.Distribution]:
        """Note a distribution that is looked up, a group of entry points, or that all of them are looked through."""
        if context is not None and context.name is not None:
            self.distributions.add(re.sub(r"[-_.]+", "-", context.name).lower())
        elif group := _group_asked_for():
            self.groups.add(group)
        else:
            self.has_scanned = True
        return iter(())

    def told(self) -> dict[str, object]:
        """Return what was loaded and looked for, by top-level names, as a zygote tells it."""
        loaded = {name.partition(".")[0] for name in sys.modules}
        return {
            "modules": sorted(loaded | self.missed),
            "distributions": sorted(self.distributions),
            "groups": sorted(self.groups),
            "scanned": self.has_scanned,
        }


def _group_asked_for() -> str | None:
    """Return the group that `importlib.metadata.entry_points` was called with, if that is who asks.

    A finder is told of a look through everything, not of what for; a wrapper around the function
    would stay in every module that has imported it by name, and in every host.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code is importlib.metadata.entry_points.__code__:
            group = frame.f_locals.get("params", {}).get("group")
            return group if isinstance(group, str) else None
        frame = frame.f_back
    return None
