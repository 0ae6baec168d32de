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

from autocelery._model import Pin

#: What every worker has itself, since it runs live calls.
FAMILY = frozenset({"amqp", "autocelery", "billiard", "celery", "kombu", "vine"})


def pins_for(distributions: Collection[str]) -> tuple[Pin, ...]:
    """Return ``distributions`` and what they require, sorted, as they are installed here.

    What is installed from a folder travels as code, not as a version. What
    is required and not installed is left out: it does not work here either.

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
        if not _is_local(installed):
            found[name] = Pin(name, installed.version)
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


def _is_local(installed: metadata.Distribution) -> bool:
    """Whether it was installed from a folder (PEP 610), editable or not: no index has it."""
    try:
        told = json.loads(installed.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return "dir_info" in told


def installed_state() -> tuple[tuple[str, int], ...]:
    """Return what changes when a package is installed, updated or removed, or ``sys.path`` changes."""
    found = []
    for entry in sys.path:
        try:
            found.append((entry, os.stat(entry or ".").st_mtime_ns))
        except OSError:
            continue
    return tuple(found)
