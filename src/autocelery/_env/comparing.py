"""What a snapshot needs against what a worker has."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from autocelery._env.interpreters import Interpreter
from autocelery._env.pins import FAMILY, canonical_version, requirements_of
from autocelery._model import Pin


def installed_here() -> dict[str, str]:
    """Return the version of each package of this interpreter, by its canonical name."""
    found: dict[str, str] = {}
    for each in metadata.distributions():
        if each.metadata["Name"]:
            version = canonical_version(each.version) or str(each.version)
            found.setdefault(canonicalize_name(each.metadata["Name"]), version)
    return found


def to_build(
    pins: Collection[Pin], installed: Mapping[str, str], asked: Collection[str] = ()
) -> tuple[Pin, ...]:
    """Return the pins that an overlay has to hold, none where ``installed`` satisfies them all.

    It satisfies a pin with the same major version, and one that was ``asked``
    for by its name with the same version. Where one pin is not satisfied, the
    overlay holds all that differ at all: packages that were tried together run
    together.
    """
    if all(_does(installed.get(pin.name), pin, pin.name in asked) for pin in pins):
        return ()
    return tuple(pin for pin in pins if installed.get(pin.name) != pin.version)


def _does(here: str | None, pin: Pin, is_asked: bool) -> bool:
    return here == pin.version if is_asked else is_compatible(here, pin.version)


def is_compatible(here: str | None, wanted: str) -> bool:
    """Whether code that was tried with version ``wanted`` may run with version ``here``."""
    if here is None or here == wanted:
        return here is not None
    try:
        return Version(here).major == Version(wanted).major
    except ValueError:  # InvalidVersion is one
        return False


@dataclass(frozen=True, slots=True)
class Need:
    """What a package of the worker requires: ``by`` is its name and version, ``specifier`` as PEP 440 writes it."""

    by: str
    name: str
    specifier: str


def needs_of_celery(
    family: Collection[str] = FAMILY,
    path: Collection[str] | None = None,
    markers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Need, ...]:
    """Return what this worker's Celery and its parts require, and what that requires in turn.

    Args:
        family: the packages whose requirements have to hold.
        path: the folders of another environment, to look there.
        markers: what its interpreter has otherwise than this one (PEP 508).
    """
    return tuple(_needs(family, sys.path if path is None else list(path), markers))


def _needs(family: Collection[str], path: list[str], markers: Mapping[str, str]) -> Iterator[Need]:
    seen: set[str] = set()
    waiting = sorted(family)
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        installed = next(iter(metadata.distributions(name=name, path=path)), None)
        if installed is None:
            continue
        # The transport's requirements stand in an extra, and hold if the transport is there at all.
        for required in requirements_of(installed, "redis" if name in family else "", markers):
            yield Need(f"{name} {installed.version}", required.name, str(required.specifier))
            waiting.append(required.name)


def clashes(pins: Collection[Pin], needs: Collection[Need]) -> list[str]:
    """Return, as parts of a sentence, what of ``needs`` would not hold.

    Args:
        pins: what would be put before the worker's own packages.
        needs: what the worker's Celery requires.
    """
    pinned = {pin.name: pin.version for pin in pins}
    return [
        f"{need.by} there needs {need.name}{need.specifier}, and the snapshot has {need.name} {pinned[need.name]}"
        for need in needs
        if need.name in pinned and not _satisfies(pinned[need.name], SpecifierSet(need.specifier))
    ]


def missing_in(overlay: Path, interpreter: Interpreter | None = None) -> list[str]:
    """Return, sorted, what packages in the folder ``overlay`` require and neither it nor this interpreter has.

    Of what the overlay has, the versions that were tried together hold, whatever they say of each other.

    Args:
        overlay: the folder.
        interpreter: whose it is, where it stands alone; then nothing of this interpreter's counts.
    """
    markers = interpreter.markers if interpreter else {}
    held = {canonicalize_name(each.name): each for each in metadata.distributions(path=[str(overlay)])}
    elsewhere = {
        (required.name, str(required.specifier))
        for each in held.values()
        for required in requirements_of(each, markers=markers)
        if required.name not in held and required.name != "autocelery"
    }
    here = (
        installed_here() if elsewhere and interpreter is None else {}
    )  # which takes longer than all the rest
    return sorted(
        f"{name}{specifier}"
        for name, specifier in elsewhere
        if not _satisfies(here.get(name), SpecifierSet(specifier))
    )


def _satisfies(version: str | None, specifier: SpecifierSet) -> bool:
    if version is None:
        return False
    return canonical_version(version) is None or specifier.contains(version, prereleases=True)


def environment_id(pins: Collection[Pin], interpreter: Interpreter | None = None) -> str:
    """Return the name of the environment with ``pins`` on this platform: a digest.

    Args:
        pins: what it holds.
        interpreter: whose it is, where it stands alone; else it is an overlay for this process's.
    """
    whose = f"alone {interpreter.version} {interpreter.path}" if interpreter else sys.implementation.cache_tag
    for_whom = f"{whose} {sys.platform} {platform.machine()} {platform.libc_ver()}"
    lines = [for_whom, *sorted(" ".join([f"{pin.name}=={pin.version}", *sorted(pin.hashes)]) for pin in pins)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
