"""What a snapshot needs against what a worker has."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from autocelery._env.pins import FAMILY, requirements_of
from autocelery._model import Pin


def installed_here() -> dict[str, str]:
    """Return the version of each package of this interpreter, by its canonical name."""
    found: dict[str, str] = {}
    for each in metadata.distributions():
        if each.metadata["Name"]:
            found.setdefault(canonicalize_name(each.metadata["Name"]), each.version)
    return found


def to_build(pins: Collection[Pin], installed: Mapping[str, str]) -> tuple[Pin, ...]:
    """Return the pins that an overlay has to hold, none where ``installed`` satisfies them all.

    It satisfies a pin with the same major version. Where one pin is not
    satisfied, the overlay holds all that differ at all: packages that were
    tried together run together.
    """
    if all(is_compatible(installed.get(pin.name), pin.version) for pin in pins):
        return ()
    return tuple(pin for pin in pins if installed.get(pin.name) != pin.version)


def is_compatible(here: str | None, wanted: str) -> bool:
    """Whether code that was tried with version ``wanted`` may run with version ``here``."""
    if here is None or here == wanted:
        return here is not None
    try:
        return Version(here).major == Version(wanted).major
    except InvalidVersion:
        return False


def clashes(pins: Collection[Pin], family: Collection[str] = FAMILY) -> list[str]:
    """Return, as sentences, which pins this worker's Celery cannot run with.

    Args:
        pins: what would be put before the worker's own packages.
        family: the packages whose requirements have to hold.
    """
    pinned = {pin.name: pin.version for pin in pins}
    return [
        f"{name} {version} here needs {required.name}{required.specifier}, and the snapshot "
        f"has {required.name} {pinned[required.name]}"
        for name, version, required in _requirements(family)
        if required.name in pinned
        and not required.specifier.contains(pinned[required.name], prereleases=True)
    ]


def _requirements(family: Collection[str]) -> Iterator[tuple[str, str, Requirement]]:
    for name in sorted(family):
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        # The transport's requirements stand in an extra, and hold if the transport is there at all.
        yield from ((name, installed.version, each) for each in requirements_of(installed, extra="redis"))


def missing_in(overlay: Path) -> list[str]:
    """Return, sorted, what packages in the folder ``overlay`` require and neither it nor this interpreter has."""
    held = {canonicalize_name(each.name): each for each in metadata.distributions(path=[str(overlay)])}
    here = installed_here()
    return sorted(
        {
            f"{required.name}{required.specifier}"
            for each in held.values()
            for required in requirements_of(each)
            if required.name not in held and required.name not in here
        }
    )


def environment_id(pins: Collection[Pin]) -> str:
    """Return the name of the overlay with ``pins`` for this interpreter and platform: a digest."""
    for_whom = f"{sys.implementation.cache_tag} {sys.platform} {platform.machine()} {platform.libc_ver()}"
    lines = [for_whom, *sorted(f"{pin.name}=={pin.version}" for pin in pins)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
