"""Which files are read, and what is found in all of them."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from autocelery._doctor.source.module import Module
from autocelery._snapshot.encoding import is_for_development
from autocelery._snapshot.listing import list_tree
from autocelery._snapshot.rules import ShipRules

#: A file larger than this was written by a program.
_LARGEST = 2**20


@dataclass(frozen=True)
class Source:
    """The modules of a project, without its tests."""

    folder: Path
    modules: tuple[Module, ...]

    @classmethod
    def read(cls, folder: Path) -> Source:
        """Read what git would call the tree below ``folder``, where it is Python that parses."""
        names = list_tree(str(folder), ShipRules()).names
        paths = [
            Path(below, name) if below else Path(name)
            for below, found in names.items()
            for name in found
            if name.endswith(".py") and not is_for_development(below, name)
        ]
        return cls(folder, tuple(each for path in paths if (each := _module(folder, path)) is not None))

    @cached_property
    def by_path(self) -> dict[str, Module]:
        """The modules by their real paths."""
        return {os.path.realpath(each.path): each for each in self.modules}

    def calls(self) -> Iterator[tuple[Module, ast.Call]]:
        """Yield every call of every module."""
        for module in self.modules:
            for call in module.calls:
                yield module, call


def _module(folder: Path, path: Path) -> Module | None:
    full = folder / path
    try:
        if full.stat().st_size > _LARGEST:
            return None
        text = full.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # the interpreter says so when it imports it
            tree = ast.parse(text)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
        return None
    parts = path.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(full, shown(full), name, text, tree)


def shown(path: Path) -> str:
    """Return a path as messages have it: relative to where the user stands."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
