"""One run of the benchmarks: the project, the temporary folder, the drivers' processes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fleet import Namespace, Worker, leftovers
from benchmarks.project import Project

REPOSITORY = Path(__file__).resolve().parent.parent


class DriverFailed(Exception):
    """A driver ended without an answer; the text is the end of what it said."""


@dataclass(frozen=True, slots=True)
class Session:
    """What every row is measured with.

    ``python`` is the interpreter of workers and clients. ``rounds`` replaces
    a row's own number of repetitions; ``is_quick`` asks for few of them, to
    see that everything runs, not to judge.
    """

    folder: Path
    project: Project
    python: Path
    rounds: int | None = None
    is_quick: bool = False
    _firsts: Iterator[int] = field(default_factory=lambda: itertools.count(1, 10_000))

    def first(self) -> int:
        """Return a number to count a row's edits from, so that no two edits of a run are the same."""
        return next(self._firsts)

    def repeat(self, usual: int, quick: int) -> int:
        """Return how often to repeat a measurement."""
        return self.rounds or (quick if self.is_quick else usual)

    @contextmanager
    def worker(self) -> Iterator[tuple[Namespace, Worker]]:
        """A stock worker with autocelery in its app, and its namespace; nothing of both is left after."""
        namespace = Namespace.new(self.folder)
        worker = Worker(self.project.top, namespace.environment(), self.python)
        try:
            worker.start()
            yield namespace, worker
        except DriverFailed as failure:
            raise DriverFailed(f"{failure}; the worker's log ends: {_tail(''.join(worker.log))}") from failure
        finally:
            worker.stop()
            for line in leftovers(namespace):
                print(f"  left behind by the worker, ended now: {line}", file=sys.stderr)
            namespace.clean()

    def drive(
        self,
        driver: str,
        environment: Mapping[str, str],
        *,
        python: Path | None = None,
        deadline: float = 900.0,
        **arguments: object,
    ) -> Any:
        """Run ``benchmarks.drivers.<driver>`` in the project and return the JSON that it printed last.

        Raises:
            DriverFailed: it failed, or took longer than ``deadline`` seconds.
        """
        command = [str(python or self.python), "-m", f"benchmarks.drivers.{driver}", json.dumps(arguments)]
        variables = {**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)}
        try:
            done = subprocess.run(
                command,
                cwd=self.project.top,
                env=variables,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=deadline,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise DriverFailed(f"{driver} did not end within {deadline:.0f} s") from late
        lines = done.stdout.strip().splitlines()
        if done.returncode != 0 or not lines:
            raise DriverFailed(f"{driver} failed ({done.returncode}): {_tail(done.stderr)}")
        return json.loads(lines[-1])


def _tail(text: str) -> str:
    return " / ".join(text.strip().splitlines()[-3:])[-600:]
