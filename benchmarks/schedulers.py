"""One scheduler with its schedule, under a clock: what it costs while nothing is due, and how late it sends."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import redis
from psycopg import sql

from benchmarks.fleet import Namespace
from benchmarks.session import REPOSITORY, Session

POSTGRES_URL = os.environ.get("POSTGRES_URL") or "postgresql+psycopg://postgres@127.0.0.1:5432/test"
#: Seconds for which a scheduler may be late with the last of its ticks.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Side:
    """A scheduler: its driver, which has its app, the command that runs it, and the environment that it is in."""

    name: str
    driver: str
    command: tuple[str, ...]
    venv: str


@dataclass(frozen=True, slots=True)
class Load:
    """How many entries there are; for how many seconds they rest; and how many a second are due, for how long."""

    entries: int
    start: float
    idle: float
    rate: int
    seconds: int

    def due(self, begin: float) -> list[float]:
        """Return when each entry that is due is due, in seconds since the epoch."""
        return [begin + number / self.rate for number in range(self.rate * self.seconds)]


@dataclass(slots=True)
class Measured:
    """What was measured: shares of one core, megabytes, and seconds by which each tick was late."""

    idle: float = 0.0
    database: float = 0.0
    megabytes: float = 0.0
    late: list[float] = field(default_factory=list)
    missing: int = 0
    doubled: int = 0


def measure(session: Session, side: Side, python: Path, load: Load) -> Measured:
    """Fill a schedule, run its scheduler, and measure it.

    Raises:
        DriverFailed: the schedule could not be made.
        RuntimeError: the scheduler ended.
    """
    namespace = Namespace.new(session.folder)
    namespace.home.mkdir()
    try:
        with _database() as url:
            variables = {**namespace.environment(), "BENCH_DATABASE": url}
            session.drive(side.driver, variables, python=python, count=load.entries)
            begin = time.time() + load.start + load.idle + 5
            due = load.due(begin)
            session.drive(side.driver, variables, python=python, due=due)
            with _running(side, python, variables, namespace.home) as process:
                return _watched(process, namespace, url, load, due)
    finally:
        namespace.clean()


def _watched(
    process: psutil.Process, namespace: Namespace, url: str, load: Load, due: list[float]
) -> Measured:
    found = Measured()
    with _collecting(namespace) as arrivals:
        _sleep_until(due[0] - load.idle - 1, process)
        backends = _backends(url)
        before = _cpu([process]), _cpu(backends), time.monotonic()
        _sleep_until(due[0] - 1, process)
        passed = time.monotonic() - before[2]
        found.idle = (_cpu([process]) - before[0]) / passed
        found.database = max(0.0, _cpu(backends) - before[1]) / passed
        found.megabytes = process.memory_info().rss / 2**20
        while time.time() < due[-1] + PATIENCE and len(arrivals) < len(due):
            _sleep_until(time.time() + 0.5, process)
        _sleep_until(time.time() + 1, process)
    first: dict[int, float] = {}
    for number, moment in arrivals:
        first.setdefault(number, moment)
    found.late = [first[number] - moment for number, moment in enumerate(due) if number in first]
    found.missing, found.doubled = len(due) - len(first), len(arrivals) - len(first)
    return found


@contextmanager
def _running(side: Side, python: Path, variables: dict[str, str], folder: Path) -> Iterator[psutil.Process]:
    with (folder / "beat.log").open("w") as log:
        process = subprocess.Popen(
            [str(python), "-m", *side.command],
            cwd=folder,
            env={**os.environ, **variables, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield psutil.Process(process.pid)
        except psutil.NoSuchProcess:
            told = (folder / "beat.log").read_text(errors="replace").strip().splitlines()[-3:]
            raise RuntimeError(f"{side.name} ended: {' / '.join(told)}") from None
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _collecting(namespace: Namespace) -> Iterator[list[tuple[int, float]]]:
    """Take what is sent as soon as it is there; each message's number and when it came."""
    arrivals: list[tuple[int, float]] = []
    is_over = threading.Event()

    def collect() -> None:
        with redis.Redis.from_url(namespace.url) as client:
            while not is_over.is_set():
                taken = client.brpop([f"{namespace.prefix}celery"], timeout=1)
                if taken is None:
                    continue
                moment = time.time()
                [number] = json.loads(base64.b64decode(json.loads(taken[1])["body"]))[0]
                arrivals.append((int(number), moment))

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield arrivals
    finally:
        is_over.set()
        thread.join()


@contextmanager
def _database() -> Iterator[str]:
    """Lend a database of its own in the PostgreSQL that is there."""
    name = f"bench_{secrets.token_hex(6)}"
    server, _, _ = POSTGRES_URL.rpartition("/")
    with psycopg.connect(POSTGRES_URL.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _backends(url: str) -> list[psutil.Process]:
    """Return PostgreSQL's processes for a database, where they are on this machine and may be looked at."""
    found = []
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        asked = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for (pid,) in connection.execute(asked):
            with suppress(psutil.Error):
                found.append(psutil.Process(pid))
    return found


def _cpu(processes: list[psutil.Process]) -> float:
    total = 0.0
    for each in processes:
        with suppress(psutil.NoSuchProcess):  # a connection may end meanwhile, and its process with it
            times = each.cpu_times()
            total += times.user + times.system
    return total


def _sleep_until(moment: float, process: psutil.Process) -> None:
    while (left := moment - time.time()) > 0:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise psutil.NoSuchProcess(process.pid)
        time.sleep(min(left, 0.5))
