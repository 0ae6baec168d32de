"""What is installed here, and what it requires."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from importlib import metadata
from types import MappingProxyType

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

#: What every worker has itself, since it runs live calls.
FAMILY = frozenset({"amqp", "autocelery", "billiard", "celery", "kombu", "vine"})


def runtime_names(transports: Collection[str] = ()) -> frozenset[str]:
    """Return, by canonical names, Celery and what autocelery needs besides itself.

    Args:
        transports: what the broker and the result backend need, and Celery requires in an extra only.
    """
    return _runtime_names(frozenset(transports), installed_state())


@lru_cache(maxsize=4)
def _runtime_names(transports: frozenset[str], _state: object) -> frozenset[str]:
    needed = {required.name for required in requirements_of(metadata.distribution("autocelery"))}
    return frozenset({"celery", *needed, *transports})


def requirements_of(
    installed: metadata.Distribution, extra: str = "", markers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Requirement]:
    """Yield what a distribution requires on this platform, with canonical names.

    Args:
        installed: the distribution.
        extra: one of its extras.
        markers: what is otherwise in another interpreter on this platform (PEP 508).
    """
    for text in installed.requires or ():
        try:
            required = Requirement(text)
        except InvalidRequirement:  # as old packages have them; pip warns of it where it is installed
            continue
        if required.marker is None or required.marker.evaluate({**markers, "extra": extra}):
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
