"""Which third-party packages a tree imports, at the versions that are installed here."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Collection, Mapping
from functools import lru_cache

from autocelery._env.pins import installed_state
from autocelery._model import Package


def packages_for(imports: Collection[str], provided: Collection[str]) -> tuple[Package, ...]:
    """Return the packages behind ``imports`` that neither Python nor the tree itself provides, sorted."""
    own = sys.stdlib_module_names.union(provided)
    wanted = tuple(sorted(each for each in imports if each not in own))
    return _packages(wanted, installed_state()) if wanted else ()


@lru_cache(maxsize=16)
def _packages(wanted: tuple[str, ...], state: object) -> tuple[Package, ...]:
    distributions = _distributions(state)
    return tuple(
        Package(module, distributions[module], importlib.metadata.version(distributions[module]))
        for module in wanted
        if module in distributions
    )


@lru_cache(maxsize=4)
def _distributions(_state: object) -> Mapping[str, str]:
    """Return the distribution behind each importable top-level name; it depends on what is installed."""
    return {module: names[0] for module, names in importlib.metadata.packages_distributions().items()}
