"""Which third-party packages a tree imports, at the versions that are installed here."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache

from autocelery._model import Package


def packages_for(imports: Iterable[str], provided: Iterable[str]) -> tuple[Package, ...]:
    """Return the packages behind ``imports`` that neither Python nor the tree itself provides, sorted."""
    own = set(provided) | sys.stdlib_module_names
    wanted = sorted(each for each in imports if each not in own)
    distributions = _distributions(tuple(sys.path)) if wanted else {}
    return tuple(
        Package(module, distributions[module], importlib.metadata.version(distributions[module]))
        for module in wanted
        if module in distributions
    )


@lru_cache(maxsize=4)
def _distributions(path: tuple[str, ...]) -> Mapping[str, str]:
    """Return the distribution behind each importable top-level name; ``path`` is what the answer depends on."""
    return {module: names[0] for module, names in importlib.metadata.packages_distributions().items()}
