"""Which of the tree's Python files tasks reach: what the app has imported, and what that may import later."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from autocelery._publish.checks.shipped import Shipped, is_of_environment
from autocelery._snapshot.encoding import is_for_development

#: Files beyond this many are not looked at: what is found in the first of them is told in time.
FILES_MAX = 1500


@dataclass(frozen=True, slots=True)
class Import:
    """One module, and perhaps one name of it, that a statement imports.

    ``module`` is absolute, ``""`` where a relative one leads beyond the top; ``written`` is as it stands
    there. ``is_guarded``: the code has another way if it fails, or the statement is not always run.
    ``is_certain``: it stands at the top of the module, or in a task: whoever calls that needs it.
    """

    line: int
    module: str
    name: str | None
    written: str
    is_guarded: bool
    is_certain: bool


@dataclass(frozen=True)
class Source:
    """One Python file that tasks reach, by the name it is imported under.

    ``is_certain``: it is imported now, or by an import that is certain to run.
    """

    module: str
    path: str
    tree: ast.Module
    is_certain: bool

    @property
    def package(self) -> str:
        """What its relative imports start from."""
        return self.module if self.path.endswith("/__init__.py") else self.module.rpartition(".")[0]

    @cached_property
    def guarded(self) -> frozenset[ast.AST]:
        """The nodes that are run only under a condition, or whose failure is handled."""
        return frozenset(_guarded(self.tree))

    @cached_property
    def uncertain(self) -> frozenset[ast.AST]:
        """The nodes inside functions that are no tasks: perhaps nobody calls them."""
        return frozenset(_inside_functions(self.tree))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Everything that it imports, wherever that stands."""
        return tuple(self._imports())

    def _imports(self) -> Iterator[Import]:
        for node in ast.walk(self.tree):
            how = (node in self.guarded, node not in self.uncertain)
            if isinstance(node, ast.Import):
                for each in node.names:
                    yield Import(node.lineno, each.name, None, f"import {each.name}", *how)
            elif isinstance(node, ast.ImportFrom):
                dotted = "." * node.level + (node.module or "")
                module = self._absolute(node.level, node.module or "")
                for each in node.names:
                    written = f"from {dotted} import {each.name}"
                    yield Import(node.lineno, module, each.name, written, *how)

    def _absolute(self, level: int, module: str) -> str:
        if not level:
            return module
        parts = self.package.split(".") if self.package else []
        if level > len(parts):
            return ""
        return ".".join([*parts[: len(parts) - level + 1], *([module] if module else [])])


def sources(shipped: Shipped) -> list[Source]:
    """Return the files that tasks reach: of the modules that are imported now, and of what they import."""
    certain = deque(_loaded(shipped))
    perhaps: deque[tuple[str, str]] = deque()
    seen: set[str] = set()
    found: list[Source] = []
    while (certain or perhaps) and len(found) < FILES_MAX:
        is_certain = bool(certain)
        module, path = (certain or perhaps).popleft()
        source = _parsed(module, path, is_certain) if path not in seen else None
        seen.add(path)
        if source is None:
            continue
        found.append(source)
        for each in source.imports:
            if not each.is_guarded:
                (certain if is_certain and each.is_certain else perhaps).extend(_files_of(each, shipped))
    return sorted(found, key=lambda source: source.path)


def _files_of(each: Import, shipped: Shipped) -> Iterator[tuple[str, str]]:
    for name in (each.module, f"{each.module}.{each.name}" if each.name else ""):
        place = place_of(name, shipped) if name else None
        if place is not None and place.endswith(".py"):
            yield name, place


def place_of(module: str, shipped: Shipped) -> str | None:
    """Return the file or folder that a module of the roots is imported from, shipped or not.

    ``None`` where no root has it. A namespace package is its first folder.
    """
    if module not in shipped.places:
        shipped.places[module] = _looked_up(module, shipped)
    return shipped.places[module]


def _looked_up(module: str, shipped: Shipped) -> str | None:
    parts = module.split(".")
    for folder in shipped.import_folders:
        base = os.path.join(folder, *parts)
        if os.path.isfile(f"{base}/__init__.py"):
            return f"{base}/__init__.py"
        if os.path.isfile(f"{base}.py"):
            return f"{base}.py"
    for folder in shipped.import_folders:
        extension = _extension(os.path.join(folder, *parts))
        if extension:
            return extension
    folders = (os.path.join(folder, *parts) for folder in shipped.import_folders)
    found = next((each for each in folders if os.path.isdir(each)), None)
    return None if found is None or _is_installed_elsewhere(parts[0], shipped) else found


def _is_installed_elsewhere(name: str, shipped: Shipped) -> bool:
    """Whether an installed package goes before a folder of that name without an ``__init__``."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    return (
        spec is not None and spec.origin is not None and shipped.top_of(os.path.realpath(spec.origin)) is None
    )


def _extension(base: str) -> str | None:
    folder, name = os.path.split(base)
    try:
        with os.scandir(folder) as entries:
            names = [each.name for each in entries if each.name.startswith(f"{name}.")]
    except OSError:
        return None
    found = sorted(each for each in names if each.endswith((".so", ".pyd")))
    fitting = [each for each in found if each.removeprefix(name) in EXTENSION_SUFFIXES]
    return f"{folder}/{(fitting or found)[0]}" if found else None


def _loaded(shipped: Shipped) -> Iterator[tuple[str, str]]:
    """Yield the name and the file of each module that was imported from the roots."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name in ("__main__", "__mp_main__") or not file.endswith(".py"):
            continue
        path = os.path.realpath(file)
        top = shipped.top_of(path)
        if top is None or is_of_environment(path, top):
            continue
        folder, base = os.path.split(os.path.relpath(path, top))
        if not is_for_development(folder, base):
            yield name, path


def _parsed(module: str, path: str, is_certain: bool) -> Source | None:
    """Return the file parsed; ``None`` for one that cannot be, which the check of its syntax tells of."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Source(module, path, ast.parse(Path(path).read_bytes(), path), is_certain)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _guarded(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Try | ast.TryStar) and node.handlers:
            # What an except clause itself imports is the other way.
            for part in (*node.body, *node.handlers):
                yield from ast.walk(part)
        elif isinstance(node, ast.If):
            for part in (*node.body, *node.orelse):
                yield from ast.walk(part)
        elif isinstance(node, ast.With) and any("suppress" in ast.unparse(each) for each in node.items):
            for part in node.body:
                yield from ast.walk(part)


def is_task_decorator(node: ast.expr) -> bool:
    """Whether a decorator makes a task: ``@app.task``, ``@shared_task(bind=True)``."""
    inner = node.func if isinstance(node, ast.Call) else node
    name = inner.attr if isinstance(inner, ast.Attribute) else inner.id if isinstance(inner, ast.Name) else ""
    return name in ("task", "shared_task")


def _inside_functions(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not any(
            map(is_task_decorator, node.decorator_list)
        ):
            for part in node.body:
                yield from ast.walk(part)
