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
    worker logs with. ``agent`` is the path of the agent's socket.
    """

    hostname: str
    settings: Mapping[str, Any]
    blocks_joins: bool
    log: Mapping[str, Any] = field(default_factory=dict)
    agent: str = ""
    idle_seconds: float = 600.0
    max_calls: int = 10_000
    max_memory: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """Everything a host is told when it is forked; all of it was verified before."""

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
    expires: int
    terms: WorkerTerms
