"""What a host is told when it is forked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkerTerms:
    """What a host takes over from its worker, whatever the shipped settings say.

    ``settings`` are the worker's connections: broker, result backend and
    their options. ``log`` holds the level, file and redirection that the
    worker logs with.
    """

    hostname: str
    settings: Mapping[str, Any]
    blocks_joins: bool
    log: Mapping[str, Any] = field(default_factory=dict)
    idle_seconds: float = 600.0
    max_calls: int = 10_000
    max_memory: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """Everything a host is told when it is forked; all of it was verified before.

    ``agent`` is the path of the socket at which the host's agent listens. ``overlay`` is a folder of packages that
    goes before the worker's own; ``interpreter`` the program of an environment that has nothing of the worker's.
    Where neither is given, the host has the worker's own packages.
    ``variables`` is the digest of the envelope with the variables that come
    over the host's socket before anything is imported, ``None`` without any.
    """

    snapshot: str
    key: str
    folder: str
    local_root: str
    paths: tuple[str, ...]
    cwd: str
    module: str | None
    attribute: str | None
    main: str | None
    app_settings: Mapping[str, Any]
    packages: tuple[tuple[str, str, str, str | None], ...]
    values: str | None
    compiled: str
    overlay: str | None
    interpreter: str | None
    agent: str
    expires: int
    terms: WorkerTerms
    variables: str | None = None
