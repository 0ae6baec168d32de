"""What runs in zygote and host: standard library and Celery only.

The files in the order in which an edit meets them: ``zygote`` starts and ``forking`` forks,
``host`` answers calls, ``importing`` prepares the interpreter and imports the
snapshot's app, ``messages`` makes what the snapshot's code sends live again,
``values`` unpacks functions that are in no module. ``output`` catches what a
task prints, where somebody asked for it, and ``variables`` sets what a call
brought along. ``frames`` and ``limits`` are what they stand on.
"""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["current_snapshot"]

#: ``(snapshot id, key id)`` of the snapshot that this process runs, in a host; ``None`` elsewhere.
_current: tuple[str, str] | None = None
#: Digest of the envelope with the variables that this host was given, and their names; ``None``: it has none.
_variables: tuple[str, frozenset[str]] | None = None


def current_snapshot() -> tuple[str, str] | None:
    """Return ``(snapshot id, key id)`` in a host, ``None`` in any other process."""
    return _current


def become_host_of(snapshot: str, key: str) -> None:
    """Say, once and for the life of this process, which snapshot it runs."""
    global _current
    _current = (snapshot, key)


def current_variables() -> tuple[str, frozenset[str]] | None:
    """Return the digest of the envelope that this host's variables came in, and their names; ``None`` without any."""
    return _variables


def carry_variables(sealed: str, names: Collection[str]) -> None:
    """Say, once and for the life of this process, which variables a call has brought here."""
    global _variables
    _variables = (sealed, frozenset(names))
