"""The lock, a blob that names each package a snapshot needs and its version, as canonical bytes and back."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.version import Version

from autocelery._model import Pin
from autocelery._snapshot.canonical import canonical_json, parse_canonical
from autocelery.errors import SnapshotInvalid

VERSION = 1

#: What the builder of an environment is handed: canonical names (PEP 503) and versions (PEP 440), nothing else.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


def encode(pins: Iterable[Pin]) -> bytes:
    """Return the canonical bytes of a lock with ``pins``."""
    return canonical_json({"v": VERSION, "pins": sorted([pin.name, pin.version] for pin in pins)})


def decode(raw: bytes) -> tuple[Pin, ...]:
    """Return the pins of the lock that ``raw`` is the canonical form of.

    Raises:
        SnapshotInvalid: it is malformed, of another version, or pins a package twice.
    """
    value = parse_canonical(raw, "The lock")
    if not isinstance(value, dict) or value.get("v") != VERSION or not isinstance(value.get("pins"), list):
        raise SnapshotInvalid(
            f"The lock is not of version {VERSION}: caller and worker run different releases of autocelery. "
            "Install the same one on both."
        )
    pins = tuple(_pin(each) for each in value["pins"])
    if len({pin.name for pin in pins}) != len(pins):
        raise SnapshotInvalid("The lock pins a package twice. Ship the snapshot again.")
    return pins


def _pin(value: object) -> Pin:
    if not isinstance(value, list) or len(value) != 2 or any(not isinstance(part, str) for part in value):
        raise SnapshotInvalid("The lock has a pin that is not [name, version].")
    name, version = value
    if not _NAME.fullmatch(name) or not _is_version(version):
        raise SnapshotInvalid(f"The lock pins {name!r} at {version!r}, which are no name and version.")
    return Pin(name, version)


def _is_version(text: str) -> bool:
    try:
        return str(Version(text)) == text
    except ValueError:  # InvalidVersion is one, and so is a number that is too long for an int
        return False
