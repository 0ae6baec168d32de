"""Where the settings of an app are written: assignments, arguments and keys that bear their names."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from celery.app.defaults import _TO_NEW_KEY, DEFAULTS

from autocelery._doctor.source.configuration import is_setting
from autocelery._doctor.source.index import Source
from autocelery._doctor.source.module import Module, constant, dotted

#: What `Celery(...)` calls differently.
_ARGUMENTS = {"broker": "broker_url", "backend": "result_backend"}
#: What settings are put into, by its last name.
_HOLDERS = ("conf", "config", "settings")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line that gives a setting a value, which is the expression ``value``."""

    name: str
    module: Module
    value: ast.expr

    @property
    def line(self) -> int:
        """Where the value begins."""
        return self.value.lineno

    def says(self, value: Any) -> bool:
        """Whether the text can be seen to mean ``value``."""
        if isinstance(self.value, ast.Constant) and self.value.value is None:
            return value is None
        found = constant(self.value)
        return found is not None and found == value


def settings_in(
    source: Source, prefix: str, configuration: Collection[Module]
) -> dict[str, tuple[Setting, ...]]:
    """Return every line that may set something, by Celery's name of what it sets.

    Args:
        source: the project.
        prefix: what the project puts before each name, such as ``CELERY_``.
        configuration: the modules whose own names are settings.
    """
    found: dict[str, list[Setting]] = {}
    for module in source.modules:
        named = [*_named(module, prefix), *(_own_names(module) if module in configuration else ())]
        for name, value in named:
            known = _celery_name(name, prefix)
            if known:
                found.setdefault(known, []).append(Setting(known, module, value))
    return {name: tuple(each) for name, each in found.items()}


def _named(module: Module, prefix: str) -> Iterator[tuple[str, ast.expr]]:
    """Yield what is set in any module: on an app, and in tables with a name that is nothing but a setting's."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from _assigned(target, node.value)
        elif isinstance(node, ast.Call | ast.Dict):
            is_app = isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "Celery"
            table = _table(node)
            if is_app or any("_" in name and is_setting(name, prefix) for name, _ in table):
                yield from ((_ARGUMENTS.get(name, name) if is_app else name, value) for name, value in table)


def _table(node: ast.Call | ast.Dict) -> list[tuple[str, ast.expr]]:
    if isinstance(node, ast.Call):
        return [(each.arg, each.value) for each in node.keywords if each.arg]
    pairs = zip(node.keys, node.values, strict=True)
    return [(key, value) for node, value in pairs if isinstance(key := constant(node), str)]


def _own_names(module: Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names of a module, and of classes in it."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and module.function_around(node) is None:
                    yield target.id, node.value


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Attribute) and dotted(target.value).endswith("conf"):
        yield target.attr, value
    elif isinstance(target, ast.Subscript) and dotted(target.value).endswith(_HOLDERS):
        key = constant(target.slice)
        if isinstance(key, str):
            yield key, value


def _celery_name(name: str, prefix: str) -> str:
    """Return the name without the project's prefix; empty where it is no setting's."""
    if prefix and name.upper().startswith(prefix.upper()):
        return name[len(prefix) :].lower()
    if name in _TO_NEW_KEY:
        return str(_TO_NEW_KEY[name])
    return name if name in DEFAULTS or ("_" in name and name.islower()) else ""
