"""Which third-party packages a tree imports, at the versions that are installed here."""

from __future__ import annotations

import importlib.metadata
import sys
import warnings
from collections.abc import Collection, Mapping
from functools import lru_cache

from autocelery._env.pins import installed_state
from autocelery._model import Package


def packages_for(imports: Collection[str], provided: Collection[str]) -> tuple[Package, ...]:
    """Return the packages behind ``imports`` that neither Python nor the tree itself provides, sorted."""
    own = sys.stdlib_module_names.union(provided)
    wanted = tuple(sorted(each for each in imports if each not in own))
    return _packages(wanted, installed_state()) if wanted else ()


def distributions_of(module: str) -> tuple[str, ...]:
    """Return the distributions that provide the top-level name ``module`` here."""
    return _distributions(installed_state()).get(module, ())


@lru_cache(maxsize=16)
def _packages(wanted: tuple[str, ...], state: object) -> tuple[Package, ...]:
    distributions = _distributions(state)
    return tuple(
        Package(module, name, str(importlib.metadata.version(name)))
        for module in wanted
        for name in distributions.get(module, ())
    )


@lru_cache(maxsize=4)
def _distributions(_state: object) -> Mapping[str, tuple[str, ...]]:
    """Return the distributions behind each importable top-level name: of a namespace package there are several.

    It depends on what is installed. What lost its metadata, as an interrupted installation does, has no name.
    """
    with warnings.catch_warnings():  # of what has no name, since Python 3.12
        warnings.simplefilter("ignore", DeprecationWarning)
        found = importlib.metadata.packages_distributions().items()
    return {module: tuple(sorted({name for name in names if name})) for module, names in found}
