"""What a worker tells its agent when it starts it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

from autocelery_host.order import WorkerTerms

#: How a worker tells its agent to end; nobody else sends it, as they send SIGTERM.
STOP_SIGNAL = signal.SIGUSR2
#: The agent's socket, in the worker's own folder in the place for temporary files.
SOCKET_NAME = "agent"


@dataclass(frozen=True, slots=True)
class AgentTerms:
    """Travels pickled over the agent's standard input: it holds connection URLs.

    ``parent`` is the worker's pid, with which the agent ends. ``store`` is
    the blob store's URL, or the reason why there is none. ``preload`` names the
    third-party modules that the worker itself has loaded: its hosts will want
    most of them. ``builds_environments`` is false where snapshots have to do with
    the worker's own packages.
    """

    parent: int
    folder: Path
    home_keys: Path
    home_worker: Path
    store: str
    store_problem: str
    cache_max: int
    builds_environments: bool
    preload: tuple[str, ...]
    host: WorkerTerms
