"""What a process has looked for while it imported: another set of packages might have answered otherwise."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from typing import Any


class Noticing(importlib.metadata.DistributionFinder):
    """Stands last on ``sys.meta_path``, finds nothing, and notes what it is asked for.

    As the last it hears of every module that no other finder has, and of
    every distribution that is looked up by name, found or not.
    """

    def __init__(self) -> None:
        self.missed: set[str] = set()
        self.distributions: set[str] = set()
        self.has_scanned = False

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Note a module that is not there."""
        self.missed.add(fullname.partition(".")[0])

    def find_distributions(self, context: Any = None) -> Iterator[importlib.metadata.Distribution]:
        """Note a distribution that is looked up, or that all of them are."""
        if context is None or context.name is None:
            self.has_scanned = True
        else:
            self.distributions.add(re.sub(r"[-_.]+", "-", context.name).lower())
        return iter(())

    def told(self) -> dict[str, object]:
        """Return what was loaded and looked for, by top-level names, as a zygote tells it."""
        loaded = {name.partition(".")[0] for name in sys.modules}
        return {
            "modules": sorted(loaded | self.missed),
            "distributions": sorted(self.distributions),
            "scanned": self.has_scanned,
        }
