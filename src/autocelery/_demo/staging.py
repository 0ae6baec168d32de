"""What the demo plays on: a folder, a broker and a stock worker, none of which outlives it."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from autocelery._broker import Choice, EmbeddedBroker, GuardedProcess, LocalBroker
from autocelery._broker.guardian import remove_folder
from autocelery._demo.interrupts import Interrupts
from autocelery._demo.project import Project
from autocelery.errors import NoWorkers

#: What the worker is started with: Celery's own command, nothing of ours.
WORKER = ("celery", "-A", "shop", "worker", "--pool", "prefork", "--concurrency", "2")
#: Seconds that the worker has to start, and a call to answer, on a busy machine.
START_DEADLINE, CALL_DEADLINE = 60.0, 30.0
#: Seconds that the worker has to shut down; on the filesystem transport it needs seven.
GRACE = 15.0
#: Settings of whoever runs the demo that must not reach into it.
_NOT_OURS = ("AUTOCELERY_STORE", "AUTOCELERY_TRUSTED_KEYS", "AUTOCELERY_TREE_MAX", "AUTOCELERY_CACHE_MAX")


class Stage:
    """Owner of the demo's folder, broker and worker.

    Args:
        choice: which embedded broker.
        keep: leave the folder, with the project and the worker's log, when all is over.
        interrupts: holds Ctrl-C off while something is started.
    """

    def __init__(self, choice: Choice, keep: bool, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._keep = keep
        self._broker = LocalBroker(choice)
        self._worker: GuardedProcess | None = None
        self._app: Any = None
        self.folder: Path | None = None

    def start(self) -> EmbeddedBroker:
        """Start the broker, write the project, start the worker; it is not ready yet.

        Raises:
            ConfigurationError: the broker asked for does not exist on this machine.
            BrokerUnavailable: it did not start.
        """
        with self._interrupts.held():
            self.folder = Path(tempfile.mkdtemp(prefix="ac-")).resolve()
            if not self._keep:
                # What collecting learned of the tree is written down at exit: this runs after it.
                atexit.register(remove_folder, str(self.folder))
            broker = self._broker.start()
            self.project.write(broker.settings)
            self._worker = self._start_worker(self.folder)
        sys.path.insert(0, str(self.project.folder))
        self._app = importlib.import_module("shop.celery").app
        return broker

    @property
    def project(self) -> Project:
        """The demo's project."""
        assert self.folder is not None
        return Project(self.folder / "project")

    @property
    def auto(self) -> Any:
        """The project's Autocelery, in this process: the caller's side."""
        return self._app.autocelery

    @property
    def log(self) -> Path:
        """The worker's log."""
        assert self.folder is not None
        return self.folder / "worker.log"

    def task(self, name: str) -> Any:
        """Return the project's task ``shop.prices.NAME``."""
        return getattr(importlib.import_module("shop.prices"), name)

    def wait_for_worker(self) -> None:
        """Return once the worker has answered a call.

        Raises:
            NoWorkers: it ended, or did not answer in time; the message ends with its log.
        """
        first = self.task("price").delay(0)
        deadline = time.monotonic() + START_DEADLINE
        while not first.ready():
            assert self._worker is not None
            self._interrupts.check()
            self._worker.listen(0.02)
            if self._worker.ended is not None or time.monotonic() > deadline:
                why = f"ended ({self._worker.ended})" if self._worker.ended else "did not answer in time"
                raise NoWorkers(f"The demo's worker {why}. Its log ends:\n{self.last_of_log()}")

    def pids(self) -> tuple[int, ...]:
        """Return the pids of the worker and of its pool's processes, as Celery reports them.

        Raises:
            NoWorkers: the worker does not answer.
        """
        deadline = time.monotonic() + CALL_DEADLINE
        while time.monotonic() < deadline:
            inspect = self._app.control.inspect(destination=[self._worker_name], timeout=5, limit=1)
            for stats in (inspect.stats() or {}).values():
                return (stats["pid"], *sorted(stats["pool"]["processes"]))
        raise NoWorkers(f"The demo's worker does not answer. Its log ends:\n{self.last_of_log()}")

    def last_of_log(self, lines: int = 15) -> str:
        """Return the end of the worker's log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else "(there is none)"
        return "\n".join(text.splitlines()[-lines:])

    def stop(self) -> None:
        """End the worker and the broker and remove the folder; signals do not interrupt this."""
        self._interrupts.ignore()
        if self._app is not None:
            gc.collect()  # a result that raised is a cycle; it unsubscribes from the broker when it goes
            self._app.close()
        if self._worker is not None:
            self._worker.stop(deadline=GRACE + 5)
        self._broker.stop()
        if self.folder is not None and not self._keep:
            remove_folder(str(self.folder))

    @property
    def _worker_name(self) -> str:
        return f"demo-{os.getpid()}@localhost"

    def _start_worker(self, folder: Path) -> GuardedProcess:
        for name in list(os.environ):
            if name in _NOT_OURS or name.startswith("CELERY_"):
                del os.environ[name]
        # This process is the caller: it reads the same settings as the worker.
        os.environ.update(AUTOCELERY_HOME=str(folder / "home"), AUTOCELERY_ROOT=str(self.project.folder))
        options = ["--hostname", self._worker_name, "--loglevel", "INFO", "--logfile", str(self.log)]
        # `python -m celery` takes the project from its working directory, as `celery` does.
        command = [sys.executable, "-m", *WORKER, *options]
        worker = GuardedProcess(command, None if self._keep else folder, GRACE)
        # What libraries leave in the temporary folder goes with the demo's.
        worker.start({**os.environ, "TMPDIR": str(folder)}, cwd=self.project.folder)
        return worker
