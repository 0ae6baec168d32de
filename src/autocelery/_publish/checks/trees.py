"""What is wrong with a tree as a whole: what a worker refuses, what is not there yet, what hides something else."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pathspec

from autocelery._publish.checks.shipped import Shipped
from autocelery._publish.problems import Problem
from autocelery._snapshot import plan as layouts
from autocelery._snapshot.rules import ShipRules
from autocelery.errors import SnapshotInvalid

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected

_SUBMODULE = re.compile(r"^\s*path\s*=\s*(.+?)\s*$", re.MULTILINE)
#: Top folders that are no module, though Python has one of that name.
_NO_SHADOWS = frozenset({"test", "site"})


def problems_of(collected: Collected, shipped: Shipped) -> Iterator[Problem]:
    """Yield what the files of ``collected`` show."""
    yield from _of_layout(collected)
    yield from _of_submodules(shipped)
    yield from _of_include(shipped)
    yield from _of_shadows(collected, shipped)


def _of_layout(collected: Collected) -> Iterator[Problem]:
    """Decide the layout as a worker does."""
    nodes = {digest: raw for tree in collected.trees for digest, raw in tree.nodes.items()}
    try:
        layouts.plan(collected.manifest, nodes.__getitem__)
    except SnapshotInvalid as refused:
        what, _, mend = refused.message.partition(". ")
        yield Problem("error", f"{what}: workers refuse the tree.", mend or "Leave it out of the tree.")


def _of_submodules(shipped: Shipped) -> Iterator[Problem]:
    for top in shipped.tops:
        try:
            text = Path(top, ".gitmodules").read_text(errors="replace")
        except OSError:
            continue
        for path in _SUBMODULE.findall(text):
            folder = Path(top, path)
            if not folder.is_dir() or not any(folder.iterdir()):
                mend = f"If a task needs it: git submodule update --init {path}"
                yield Problem(
                    "warning", f"The submodule {path} is not checked out, so it is not shipped.", mend
                )


def _of_include(shipped: Shipped) -> Iterator[Problem]:
    """Yield the globs of ``include`` that add nothing and have nothing to add."""
    for top in shipped.tops:
        rules = ShipRules.read(top)
        paths = [os.path.relpath(path, top) for path in shipped.files if path.startswith(f"{top}/")] if (
            rules.include
        ) else []  # fmt: skip
        for glob in rules.include:
            if not any(map(pathspec.GitIgnoreSpec.from_lines([f"/{glob}"]).match_file, paths)):
                what = f"[tool.autocelery] include names {glob}, and no file that is shipped is called so."
                yield Problem("warning", what, "Correct it in pyproject.toml, or put the file there.")


def _of_shadows(collected: Collected, shipped: Shipped) -> Iterator[Problem]:
    """Yield modules of the tree that Python has too: which of both is imported differs in a host."""
    wanted = frozenset().union(*(tree.imports for tree in collected.trees))
    for folder in shipped.import_folders:
        for name in sorted((wanted & sys.stdlib_module_names) - _NO_SHADOWS):
            file = next(
                (
                    each
                    for each in (f"{folder}/{name}.py", f"{folder}/{name}/__init__.py")
                    if each in shipped.files
                ),
                "",
            )
            if file:
                what = f"{shipped.shown(file)} has the name of Python's own module {name}: a worker may import that."
                yield Problem("error" if _is_loaded(name, file) else "warning", what, f"Rename it: {name}.py")


def _is_loaded(name: str, file: str) -> bool:
    loaded = getattr(sys.modules.get(name), "__file__", None)
    return loaded is None or os.path.realpath(str(loaded)) == file
