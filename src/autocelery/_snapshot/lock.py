"""The lock, a blob that names each package a snapshot needs and its version, as canonical bytes and back."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.version import Version

from autocelery._model import Lock, Pin
from autocelery._snapshot.canonical import canonical_json, parse_canonical
from autocelery.errors import SnapshotInvalid

VERSION = 3

#: What the builder of an environment is handed: canonical names (PEP 503) and versions (PEP 440), nothing else.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_HASH = re.compile(r"sha(?:256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})")
#: The name of a file, relative to the top, as people read it.
_SOURCE = re.compile(r"[\w .+@/-]{1,200}")


def encode(lock: Lock) -> bytes:
    """Return the canonical bytes of ``lock``."""
    told = {"v": VERSION, "source": lock.source, "alone": lock.is_alone, "asked": sorted(lock.asked)}
    return canonical_json({**told, "pins": _listed(lock.pins), "runtime": _listed(lock.runtime)})


def _listed(pins: Iterable[Pin]) -> list[list[object]]:
    return sorted([pin.name, pin.version, sorted(pin.hashes)] for pin in pins)


def decode(raw: bytes) -> Lock:
    """Return the lock that ``raw`` is the canonical form of.

    Raises:
        SnapshotInvalid: it is malformed, of another version, or pins a package twice.
    """
    value = parse_canonical(raw, "The lock")
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise SnapshotInvalid(
            f"The lock is not of version {VERSION}: caller and worker run different releases of autocelery. "
            "Install the same one on both."
        )
    pins, runtime = _pins(value.get("pins")), _pins(value.get("runtime"))
    source, is_alone = value.get("source"), value.get("alone")
    if not isinstance(source, str) or not _SOURCE.fullmatch(source) or not isinstance(is_alone, bool):
        raise SnapshotInvalid(
            "The lock does not say where it is from and how it is meant. Ship the snapshot again."
        )
    return Lock(pins, source, is_alone, runtime, _asked(value.get("asked"), pins))


def _asked(value: object, pins: tuple[Pin, ...]) -> tuple[str, ...]:
    names = {pin.name for pin in pins}
    if not isinstance(value, list) or not all(isinstance(each, str) and each in names for each in value):
        raise SnapshotInvalid("The lock does not pin what was asked for. Ship the snapshot again.")
    return tuple(value)


def _pins(value: object) -> tuple[Pin, ...]:
    if not isinstance(value, list):
        raise SnapshotInvalid("The lock has no list of pins. Ship the snapshot again.")
    pins = tuple(_pin(each) for each in value)
    if len({pin.name for pin in pins}) != len(pins):
        raise SnapshotInvalid("The lock pins a package twice. Ship the snapshot again.")
    return pins


def _pin(value: object) -> Pin:
    match value:
        case [str(name), str(version), [*hashes]]:
            pass
        case _:
            raise SnapshotInvalid("The lock has a pin that is not [name, version, hashes].")
    if not _NAME.fullmatch(name) or not _is_version(version):
        raise SnapshotInvalid(f"The lock pins {name!r} at {version!r}, which are no name and version.")
    return Pin(name, version, tuple(_hash(each, name) for each in hashes))


def _hash(value: object, name: str) -> str:
    if not isinstance(value, str) or not _HASH.fullmatch(value):
        raise SnapshotInvalid(f"The lock has a hash of {name!r} that is none.")
    return value


def _is_version(text: str) -> bool:
    try:
        return str(Version(text)) == text
    except ValueError:  # InvalidVersion is one, and so is a number that is too long for an int
        return False
