"""How a worker asks a snapshot's author, through the store itself, for what the store has lost."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass

#: Places for the requests to one author. Who asks takes any of them, again and again, so that
#: several workers and snapshots are heard though each request overwrites another at times.
SLOTS = 8


@dataclass(frozen=True, slots=True)
class Need:
    """The entries of a snapshot that a worker did not find."""

    snapshot: str
    names: tuple[str, ...]

    def encode(self) -> bytes:
        """Return it as it lies in the store."""
        return json.dumps({"snapshot": self.snapshot, "names": self.names}).encode()


def decode(content: bytes) -> Need | None:
    """Return the need in ``content``, ``None`` if it is none: anybody may write to the store."""
    try:
        told = json.loads(content)
        need = Need(told["snapshot"], tuple(told["names"]))
    except (ValueError, KeyError, TypeError):
        return None
    return need if all(isinstance(each, str) for each in (need.snapshot, *need.names)) else None


def slots(key: str) -> list[str]:
    """Return the names of the entries in which the author with the key id ``key`` is asked."""
    return [f"{key}.{number}.need" for number in range(SLOTS)]


def any_slot(key: str) -> str:
    """Return one of `slots`."""
    return secrets.choice(slots(key))
