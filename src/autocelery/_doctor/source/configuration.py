"""Which of a project's files configure its app: the modules that Celery reads settings from, and where it is made."""

from __future__ import annotations

import ast
import os
import sys
from dataclasses import dataclass
from types import ModuleType

from celery import Celery
from celery.app.defaults import _TO_NEW_KEY, DEFAULTS

from autocelery._doctor.source.index import Source
from autocelery._doctor.source.module import Module, dotted

#: What gives Celery the settings of our Django preset, and what the project's names of them begin with.
_PRESET = "autocelery.presets.django._settling"
_PRESET_PREFIX = "CELERY_"


@dataclass(frozen=True, slots=True)
class Configuration:
    """``modules`` are read as settings, the one that was named first; ``statement`` of ``home`` makes the app."""

    modules: tuple[Module, ...]
    home: Module | None = None
    statement: ast.Assign | None = None

    @classmethod
    def of(cls, app: Celery, source: Source, prefix: str) -> Configuration:
        """Find that of an app."""
        homes = [(module, made) for module in source.modules if (made := _making(app, module)) is not None]
        home, statement = homes[0] if len(homes) == 1 else (None, None)
        return cls(tuple(_loaded(app, source, prefix)), home, statement)


def prefix_of(app: Celery) -> str:
    """Return what an app's project writes before each setting's name, which may be nothing."""
    given = getattr(app, "_config_source", None)
    if isinstance(given, str) and given.partition(":")[0] == _PRESET:
        return _PRESET_PREFIX  # Celery is given the names without it
    return str(getattr(app.conf, "prefix", None) or "")


def is_setting(name: str, prefix: str) -> bool:
    """Whether a name is that of a setting, as a project with that prefix writes it."""
    if prefix and name.upper().startswith(prefix.upper()):
        return True
    return name in DEFAULTS or name in _TO_NEW_KEY


def _loaded(app: Celery, source: Source, prefix: str) -> list[Module]:
    """Return the module that `config_from_object` was given, and those from which it imports settings."""
    by_name = {each.name: each for each in source.modules}
    named = _source_of(app)
    found = [by_name[each] for each in (named, named.rpartition(".")[0]) if each in by_name][:1]
    for module in found:  # it grows
        for meaning in module.meanings.values():
            base, _, last = meaning.rpartition(".")
            more = by_name.get(base) if last == "*" or is_setting(last, prefix) else None
            if more is not None and more not in found:
                found.append(more)
    return found


def _source_of(app: Celery) -> str:
    """Return the dotted name of what the app's settings were read from; empty where it has none."""
    given = getattr(app, "_config_source", None)
    if isinstance(given, str) and given.partition(":")[0] in ("django.conf", _PRESET):
        given = getattr(sys.modules.get("django.conf"), "settings", None)
    if isinstance(given, str):
        return given.partition(":")[0]
    if isinstance(given, ModuleType):
        return given.__name__
    of_django = getattr(given, "SETTINGS_MODULE", None)
    kind = given if isinstance(given, type) else type(given)
    return of_django if isinstance(of_django, str) else kind.__module__


def _making(app: Celery, module: Module) -> ast.Assign | None:
    """Return the statement at the top of a module that makes this app, ``app = Celery(...)``."""
    for statement in module.tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            is_app = dotted(statement.value.func).rpartition(".")[2] == "Celery"
            if is_app and _value_of(module, dotted(statement.targets[0])) is app:
                return statement
    return None


def _value_of(module: Module, name: str) -> object:
    """Return what a name of a module is, which was imported."""
    path = os.path.realpath(module.path)
    files = ((each, getattr(each, "__file__", None)) for each in list(sys.modules.values()))
    return next(
        (vars(each).get(name) for each, file in files if file and os.path.realpath(file) == path), None
    )
