"""What names mean in a module, as far as its text alone says so."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

Function = ast.FunctionDef | ast.AsyncFunctionDef

_MAKERS = frozenset({"task", "shared_task"})


@dataclass(frozen=True)
class Scope:
    """The names of a module."""

    tree: ast.Module

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All of its nodes."""
        return list(ast.walk(self.tree))

    @cached_property
    def bound(self) -> dict[str, ast.expr]:
        """Names that are assigned in the module itself, and get no other value anywhere in it."""
        found = [each for node in self.tree.body for each in assigned_in(node).items()]
        return {name: value for name, value in found if self._times[name] == 1}

    @cached_property
    def imported(self) -> dict[str, str]:
        """Names that are imported, and get no other value, with what they are: ``celery.shared_task``."""
        found = [each for node in self.nodes for each in _imported_by(node).items()]
        return {name: path for name, path in found if self._times[name] == 1}

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Functions that are defined anywhere in it, by names that get no other value."""
        found = [node for node in self.nodes if isinstance(node, Function)]
        return {each.name: each for each in found if self._times[each.name] == 1}

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Classes, likewise."""
        found = [node for node in self.nodes if isinstance(node, ast.ClassDef)]
        return {each.name: each for each in found if self._times[each.name] == 1}

    @cached_property
    def registered(self) -> frozenset[str]:
        """The names of classes that it registers as tasks."""
        return frozenset(name for node in self.nodes for name in self._registered_by(node))

    def value(self, node: ast.expr | None) -> ast.expr | None:
        """Return what ``node`` stands for: of a name that is assigned once, what it is assigned."""
        followed: set[str] = set()
        while isinstance(node, ast.Name) and node.id in self.bound and node.id not in followed:
            followed.add(node.id)
            meant = self.bound[node.id]
            if node.id in self._changed and _is_dict(meant):
                break
            node = meant
        return node

    def items(self, node: ast.expr) -> dict[str, ast.expr] | None:
        """Return the items of a dict with text for keys; ``None`` where the module does not say what they are."""
        value = self.value(node)
        if isinstance(value, ast.Call) and _is_dict(value):
            given = {each.arg: each.value for each in value.keywords if each.arg}
            return given if len(given) == len(value.keywords) and not value.args else None
        if not isinstance(value, ast.Dict):
            return None
        found = {
            key.value: each
            for key, each in zip(value.keys, value.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
        return found if len(found) == len(value.keys) else None

    def makes_tasks(self, node: ast.expr) -> bool:
        """Whether ``node`` is Celery's ``shared_task``, or the ``task`` of an app, by whatever name."""
        value = self.value(node)
        if isinstance(value, ast.Attribute):
            return value.attr in _MAKERS
        if not isinstance(value, ast.Name) or (value.id in self._times and value.id not in self.imported):
            return False
        path = self.imported.get(value.id, value.id)
        last = path.rpartition(".")[2]
        return last == "shared_task" or (last in _MAKERS and path.startswith("celery."))

    @cached_property
    def _times(self) -> Counter[str]:
        """How many times each name gets a value, in whatever scope."""
        return Counter(name for node in self.nodes for name in _given_value(node))

    @cached_property
    def _changed(self) -> frozenset[str]:
        """The names of what may have been changed in place."""
        parts = [node.value for node in self.nodes if isinstance(node, ast.Attribute | ast.Subscript)]
        return frozenset(each.id for each in parts if isinstance(each, ast.Name))

    def _registered_by(self, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.ClassDef):
            if any(
                isinstance(each, ast.Attribute) and each.attr == "register_task"
                for each in node.decorator_list
            ):
                yield node.name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            registry = node.func.value
            is_registry = isinstance(registry, ast.Attribute) and registry.attr == "tasks"
            if node.func.attr == "register_task" or (node.func.attr == "register" and is_registry):
                given = self.value(node.args[0])
                kind = given.func if isinstance(given, ast.Call) else given
                if isinstance(kind, ast.Name):
                    yield kind.id


def assigned_in(node: ast.stmt) -> dict[str, ast.expr]:
    """Return the names that a statement assigns, with their values."""
    if isinstance(node, ast.Assign):
        return {each.id: node.value for each in node.targets if isinstance(each, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        return {node.target.id: node.value}
    return {}


def _is_dict(node: ast.expr) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict"
    return is_call or isinstance(node, ast.Dict)


def _given_value(node: ast.AST) -> Iterator[str]:
    """Yield the names that get a value here."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from _imported_by(node)


def _imported_by(node: ast.AST) -> dict[str, str]:
    if isinstance(node, ast.ImportFrom):
        return {each.asname or each.name: f"{node.module or ''}.{each.name}" for each in node.names}
    if isinstance(node, ast.Import):
        return {each.asname or each.name.partition(".")[0]: each.name for each in node.names}
    return {}
