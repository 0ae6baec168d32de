"""What is to run: plain data, as the table says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Seconds that a process has to end by itself when it is told to. Celery's warm shutdown waits for running tasks.
STOP_SECONDS = 600.0
#: Seconds after which a process without a word of its own counts as ready, and its start as a good one.
STEADY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process.

    Args:
        name: as ``ctl`` calls it.
        command: what is run, without a shell.
        after: names of those that have to be ready first; stopped in the other order.
        environment: variables besides those of ``up`` itself.
        niceness: what is added to that of ``up``: more gets less of a busy machine.
        memory_limit: in bytes, of the process and all below it; over it, it is stopped and started. ``None``: none.
        stop_seconds: from SIGTERM to SIGKILL.
        says_ready: whether it writes a worker's line when it is ready.
        gives_up: whether it is given up, and all else ended, when it dies at every start.
    """

    name: str
    command: tuple[str, ...]
    after: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    niceness: int = 0
    memory_limit: int | None = None
    stop_seconds: float = STOP_SECONDS
    says_ready: bool = False
    gives_up: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """All that ``up`` runs.

    Args:
        folder: where its processes start.
        file: that the table is in, for messages.
        app: what follows ``-A``.
        processes: in an order in which each comes after those that it needs.
        http: host and port of the probe; ``None``: none.
    """

    folder: Path
    file: Path
    app: str
    processes: tuple[ProcessPlan, ...] = ()
    http: tuple[str, int] | None = None
