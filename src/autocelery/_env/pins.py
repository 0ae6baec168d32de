"""The packages that code needs here, with all that they need, each at the version that is installed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from autocelery._model import Pin

#: What every worker has itself, since it runs live calls.
FAMILY = frozenset({"amqp", "autocelery", "billiard", "celery", "kombu", "vine"})


def pins_for(distributions: Collection[str]) -> tuple[Pin, ...]:
    """Return ``distributions`` and what they require, sorted, as they are installed here.

    What is installed from a folder travels as code, not as a version; what came
    from a repository or an address has no version that an index could have. What
    is required and not installed is left out: it does not work here either.
    So is what has no version that an index can be asked for (PEP 440).

    Args:
        distributions: names, as ``importlib.metadata`` has them.
    """
    return _pins(frozenset(distributions), installed_state())


@lru_cache(maxsize=16)
def _pins(distributions: frozenset[str], _state: object) -> tuple[Pin, ...]:
    found: dict[str, Pin] = {}
    asked: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str]] = [(canonicalize_name(name), "") for name in sorted(distributions)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in asked or name in FAMILY:
            continue
        asked.add((name, extra))
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        version = canonical_version(installed.version)
        if version and not _is_of_no_index(installed):
            found[name] = Pin(name, version)
        for required in requirements_of(installed, extra):
            waiting += [(required.name, each) for each in ("", *required.extras)]
    return tuple(found[name] for name in sorted(found))


def requirements_of(installed: metadata.Distribution, extra: str = "") -> Iterator[Requirement]:
    """Yield what a distribution requires on this platform, with canonical names."""
    for text in installed.requires or ():
        try:
            required = Requirement(text)
        except InvalidRequirement:  # as old packages have them; pip warns of it where it is installed
            continue
        if required.marker is None or required.marker.evaluate({"extra": extra}):
            required.name = canonicalize_name(required.name)
            yield required


def canonical_version(version: str | None) -> str | None:
    """Return ``version`` in the one spelling of PEP 440; ``None`` where it has none, or there is no version.

    >>> canonical_version("v1.0-beta")
    '1.0b0'
    """
    try:
        return str(Version(version or ""))
    except ValueError:  # InvalidVersion is one
        return None


def _is_of_no_index(installed: metadata.Distribution) -> bool:
    """Whether it came from a folder, a repository or an address (PEP 610).

    An index that has something of that name has somebody else's.
    """
    try:
        told = json.loads(installed.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return "url" in told


def installed_state() -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a package is installed, updated or removed, or ``sys.path`` changes."""
    found = []
    for entry in sys.path:
        try:
            status = os.stat(entry or ".")
        except OSError:
            continue
        found.append((entry, status.st_ino, status.st_mtime_ns))
    return tuple(found)
