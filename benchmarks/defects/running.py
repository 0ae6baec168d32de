"""Seed each defect, run ``autocelery plan`` against real workers, and see what it says and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from autocelery._broker import GuardedProcess
from benchmarks.defects import of_code, of_files, of_fleets
from benchmarks.defects.seeding import Defect, Fleet, Seeding

DEFECTS: tuple[Defect, ...] = (*of_files.DEFECTS, *of_code.DEFECTS, *of_fleets.DEFECTS)

#: Seconds that a command or the start of a worker may take.
_PATIENCE = 90
#: How many plans run at once: half of the time of each is waiting for workers.
_AT_ONCE = 3
_WORKERS: dict[Fleet, dict[str, str]] = {
    "plain": {},
    "strict": {"AUTOCELERY_ENV_POLICY": "never"},
    "bare": {"PROJ_IS_BARE": "1"},
}


@dataclass(frozen=True, slots=True)
class Told:
    """What a plan said of a project: ``problems`` are ``[level, text]``; ``failure`` is what it ended with."""

    exit_code: int
    problems: tuple[tuple[str, str], ...]
    failure: str

    def finds(self, defect: Defect) -> bool:
        """Whether one problem, with a mend, holds all that the defect says."""
        texts = [self.failure] if defect.level == "refused" else [
            text for level, text in self.problems if level == defect.level
        ]  # fmt: skip
        return any(all(word in text for word in defect.says) for text in texts)


@dataclass(frozen=True, slots=True)
class Measured:
    """``told`` has one entry a defect, ``sound`` is what was said of the project without one."""

    told: tuple[tuple[Defect, Told], ...]
    sound: Told
    was_sent: bool

    @property
    def found(self) -> list[Defect]:
        """The defects that were found."""
        return [defect for defect, told in self.told if told.finds(defect)]


class Fleets:
    """Three workers, each in a key prefix of its own; owns them, their folder and their keys.

    Args:
        folder: empty.
        url: of the Redis that is broker, backend and store.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self._prefix = f"defects-{uuid4().hex[:8]}"
        self._owned = ExitStack()

    def start(self) -> None:
        """Start the workers and wait until each answers."""
        self._owned.callback(self._remove_keys)
        deployed = Seeding(self._folder / "deployed")
        deployed.lay_out()
        for fleet, variables in _WORKERS.items():
            command = [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "proj",
                "worker",
                "-P",
                "solo",
                "-n",
                f"{fleet}@%h",
            ]
            log = ["--logfile", str(self._folder / f"{fleet}.log"), "-l", "INFO", "--without-heartbeat"]
            worker = GuardedProcess([*command, *log, "--without-gossip", "--without-mingle"], None, grace=10)
            worker.start({**self._variables(deployed, fleet), **variables}, cwd=deployed.top)
            self._owned.callback(worker.stop, 15)
        for fleet in _WORKERS:
            self._wait_for(deployed, fleet)

    def stop(self) -> None:
        """End the workers and remove their keys."""
        self._owned.close()

    def seeded(self, number: int, defect: Defect | None) -> Seeding:
        """Return a project of its own with the defect in it."""
        fleet = defect.fleet if defect else "plain"
        project = Seeding(self._folder / str(number))
        project.command = lambda which, *words: self._command(which, fleet, *words)
        project.lay_out()
        if defect is not None:
            defect.seed(project)
        return project

    def plan(self, project: Seeding, defect: Defect | None) -> Told:
        """Return what ``autocelery plan`` says of it."""
        done = self._command(project, defect.fleet if defect else "plain", "plan", "--json", "--timeout", "3")
        told = json.loads(done.stdout)["problems"] if done.stdout.startswith("{") else []
        problems = tuple((each["level"], f"{each['what']} {each['mend']}") for each in told if each["mend"])
        return Told(done.returncode, problems, "" if done.stdout.startswith("{") else done.stderr)

    def blobs(self) -> set[bytes]:
        """Return the keys of everything in the blob stores."""
        with redis.Redis.from_url(self._url) as connection:
            return set(connection.scan_iter(f"{self._prefix}*autocelery:*", count=1000))

    def _command(self, project: Seeding, fleet: Fleet, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "autocelery", "-A", project.name, *words],
            cwd=project.top,
            env=self._variables(project, fleet),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )

    def _variables(self, project: Seeding, fleet: Fleet) -> dict[str, str]:
        prefix = {"global_keyprefix": f"{self._prefix}-{fleet}."}
        settings: dict[str, Any] = {
            "broker_url": self._url,
            "result_backend": self._url,
            "broker_transport_options": prefix,
            "result_backend_transport_options": prefix,
            "broker_connection_retry_on_startup": True,
            **project.settings,
        }
        own = {"PROJ_SETTINGS": json.dumps(settings), "AUTOCELERY_HOME": str(self._folder / "home")}
        return {**os.environ, **own, **project.environment}

    def _wait_for(self, deployed: Seeding, fleet: Fleet) -> None:
        ping = [sys.executable, "-m", "celery", "-A", "proj", "inspect", "ping", "-t", "2"]
        for _ in range(_PATIENCE // 3):
            variables = self._variables(deployed, fleet)
            if not subprocess.run(
                ping, cwd=deployed.top, env=variables, capture_output=True, check=False
            ).returncode:
                return
        raise RuntimeError(f"no worker: {(self._folder / f'{fleet}.log').read_text()[-2000:]}")

    def _remove_keys(self) -> None:
        with redis.Redis.from_url(self._url) as connection:
            for key in connection.scan_iter(f"{self._prefix}*", count=1000):
                connection.unlink(key)


@contextmanager
def fleets(folder: Path, url: str) -> Iterator[Fleets]:
    """Three workers, started; nothing of them is left after."""
    started = Fleets(folder, url)
    try:
        started.start()
        yield started
    finally:
        started.stop()


def measure(folder: Path, url: str, defects: Sequence[Defect] = DEFECTS) -> Measured:
    """Run a plan on each defect, and one on the project without any.

    Args:
        folder: empty; what is made there stays.
        url: of a Redis.
        defects: all of them, by default.
    """
    with fleets(folder, url) as running, ThreadPoolExecutor(_AT_ONCE) as pool:
        every = [None, *defects]
        projects = list(pool.map(running.seeded, range(len(every)), every))
        before = running.blobs()
        sound, *told = pool.map(running.plan, projects, every)
        return Measured(tuple(zip(defects, told, strict=True)), sound, running.blobs() != before)
