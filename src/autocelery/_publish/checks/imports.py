"""Imports that fail on a worker, also those that only run when a task does."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import metadata
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from autocelery._publish.checks.reached import Import, Source, place_of
from autocelery._publish.checks.shipped import Shipped, is_of_environment
from autocelery._publish.problems import Problem

_OF_EVERY_MODULE = ("__name__", "__file__", "__doc__", "__path__", "__spec__", "__package__", "__loader__")
_BINDS_ANYTHING = frozenset({"globals", "vars", "exec", "setattr", "locals", "__getattr__"})


def problems_of(sources: Iterable[Source], shipped: Shipped) -> Iterator[Problem]:
    """Yield what would fail of the imports of ``sources``, each thing once."""
    told: set[str] = set()
    sources = list(sources)
    for source in sources:
        for each in source.imports:
            found = _of_import(source, each, shipped)
            if found is not None and found[0] not in told:
                told.add(found[0])
                yield found[1]
    yield from _of_loaded(sources, shipped, told)


def _of_import(source: Source, each: Import, shipped: Shipped) -> tuple[str, Problem] | None:
    """Return what is wrong, by what it is about, and the problem."""
    where = f"{shipped.shown(source.path)}:{each.line}"
    if not each.module:
        if each.is_guarded:
            return None
        what = f"{where} says `{each.written}`, which leads beyond the top of its package."
        return where, Problem(
            "error", what, f"Write it with fewer dots, or from the module's full name: {where}"
        )
    for name in dict.fromkeys((each.module, f"{each.module}.{each.name}" if each.name else each.module)):
        place = place_of(name, shipped)
        if place is not None and (found := _unshipped(place, shipped, where, each)):
            return found
    place = place_of(each.module, shipped)
    if each.is_guarded or (place is None and each.module in sys.modules):
        return None
    if place is None:
        return _of_no_module(each, where, shipped, source.is_certain and each.is_certain)
    if each.name and each.name != "*" and place_of(f"{each.module}.{each.name}", shipped) is None:
        return _of_no_name(each, place, where, shipped)
    return None


def _unshipped(place: str, shipped: Shipped, where: str, each: Import) -> tuple[str, Problem] | None:
    """Return the problem of a module that is here and does not travel, or not to this Python."""
    if not shipped.has(place):
        if os.path.isdir(place) and not _holds_python(place):
            return None
        why, mend = shipped.why_not(place.removesuffix("/__init__.py"))
        level = "warning" if each.is_guarded else "error"
        what = f"{where} imports {shipped.shown(place)}, which is not shipped: {why}."
        return place, Problem(level, what, mend)
    suffix = f".{os.path.basename(place).partition('.')[2]}"
    if suffix.endswith((".so", ".pyd")) and suffix not in EXTENSION_SUFFIXES:
        here = f"Python {sys.version_info.major}.{sys.version_info.minor}"
        what = f"{where} imports {shipped.shown(place)}, which was not built for {here}."
        mend = (
            f"Build it again with {here}, as the project does: python setup.py build_ext --inplace, for one."
        )
        return place, Problem("warning" if each.is_guarded else "error", what, mend)
    return None


def _of_no_module(each: Import, where: str, shipped: Shipped, is_certain: bool) -> tuple[str, Problem] | None:
    """Return the problem of a module that is in no root: a local one is misspelt, another not installed."""
    first = each.module.partition(".")[0]
    if first in sys.stdlib_module_names or first in sys.builtin_module_names:
        return None
    local = place_of(first, shipped)
    if local is not None and shipped.has(local) and local.endswith("/__init__.py"):
        if _changes_its_path(local) or each.module in sys.modules:
            return None
        what = (
            f"{where} imports {each.module}, and {shipped.shown(os.path.dirname(local))} has no such module."
        )
        return each.module, Problem("error", what, "Correct its name, or add the module.")
    if local is not None or not is_certain or _is_installed(first):
        return None
    gone = _gone_folder(first)
    if gone:
        what = f"{where} imports {first}, which was installed from {gone}, and that is gone."
        return first, Problem("warning", what, f"Bring {gone} back, or install it anew: pip install {first}")
    what = f"{where} imports {first}, which is neither in the tree nor installed here, so no worker is asked for it."
    return first, Problem("warning", what, f"Install it here, or correct the name: pip install {first}")


def _of_no_name(each: Import, place: str, where: str, shipped: Shipped) -> tuple[str, Problem] | None:
    names = _names_in(place)
    if names is None or each.name in names:
        return None
    loaded = sys.modules.get(each.module)
    if loaded is not None and hasattr(loaded, str(each.name)):
        return None
    shown = shipped.shown(place)
    what = f"{where} says `{each.written}`, and {shown} defines no {each.name}."
    return f"{place}:{each.name}", Problem("error", what, f"Correct the name, or define it in {shown}.")


def _of_loaded(sources: Iterable[Source], shipped: Shipped, told: set[str]) -> Iterator[Problem]:
    """Yield the modules that this process has imported from the roots and that are not shipped."""
    guarded = {
        name for source in sources for each in source.imports if each.is_guarded for name in _named(each)
    }
    needed = {
        name for source in sources for each in source.imports if not each.is_guarded for name in _named(each)
    }
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name in ("__main__", "__mp_main__"):
            continue
        path = os.path.abspath(file)
        top = shipped.top_of(os.path.realpath(path)) or shipped.top_of(path)
        if top is None or shipped.has(path) or path in told or is_of_environment(path, top):
            continue
        if os.path.dirname(path) not in {os.path.dirname(each) for each in told}:
            level = "warning" if name in guarded and name not in needed else "error"
            why, mend = shipped.why_not(_file_of(path))
            yield Problem(
                level, f"{name} is imported from {shipped.shown(path)}, which is not shipped: {why}.", mend
            )
        told.add(path)


def _named(each: Import) -> Iterator[str]:
    yield each.module
    if each.name:
        yield f"{each.module}.{each.name}"


def _file_of(path: str) -> str:
    """Return the file that holds ``path``, which may be a member of a zip archive."""
    while not os.path.exists(path) and path != "/":
        path = os.path.dirname(path)
    return path


def _holds_python(folder: str) -> bool:
    for _, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        if any(each.endswith((".py", ".so", ".pyd")) for each in files):
            return True
    return False


def _is_installed(module: str) -> bool:
    """Whether this interpreter finds the module; of a dotted name its parents were looked for before."""
    if module in sys.modules:
        return True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _gone_folder(module: str) -> str | None:
    """Return the folder of an editable install of ``module`` (PEP 610), if that is gone."""
    for each in metadata.distributions():
        try:
            told = json.loads(each.read_text("direct_url.json") or "{}")
        except ValueError:
            continue
        folder = str(told.get("url", "")).removeprefix("file://")
        if not told.get("dir_info", {}).get("editable") or os.path.isdir(folder):
            continue
        name = str(each.metadata["Name"]).replace("-", "_").lower()
        if module in (name, *(each.read_text("top_level.txt") or "").split()):
            return folder
    return None


def _tree_of(path: str) -> ast.Module | None:
    try:
        return _parsed(path, os.stat(path).st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=512)
def _parsed(path: str, _mtime: int) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(Path(path).read_bytes(), path)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _changes_its_path(file: str) -> bool:
    tree = _tree_of(file)
    return tree is None or any(
        isinstance(node, ast.Name) and node.id == "__path__" for node in ast.walk(tree)
    )


def _names_in(place: str) -> frozenset[str] | None:
    """Return the names that a module may define; ``None`` where that cannot be told from its text."""
    tree = _tree_of(place) if place.endswith(".py") else None
    if tree is None:
        return None
    names = set(_OF_EVERY_MODULE)
    for node in ast.walk(tree):
        bound = _bound_by(node)
        if bound is None:
            return None
        names.update(bound)
    return frozenset(names)


def _bound_by(node: ast.AST) -> tuple[str, ...] | None:
    """Return the names that one node gives a value; ``None`` if it may do so to any name."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return None if node.name == "__getattr__" else (node.name,)
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [each.asname or each.name.partition(".")[0] for each in node.names]
        return None if "*" in names else tuple(names)
    if isinstance(node, ast.Name):
        if node.id in _BINDS_ANYTHING:
            return None
        return (node.id,) if isinstance(node.ctx, ast.Store) else ()
    if isinstance(node, ast.Attribute) and node.attr == "modules":  # sys.modules[__name__] = ...
        return None
    return tuple(node.names) if isinstance(node, ast.Global) else ()
