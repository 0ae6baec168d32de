"""The running workers: what each says of itself, and for a while what it does."""

from __future__ import annotations

import contextlib
import re
import socket
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from celery.exceptions import DuplicateNodenameWarning
from kombu.exceptions import OperationalError

#: What is asked of each worker, in one round.
_QUESTIONS = ("stats", "active_queues", "registered", "conf", "report", "active", "reserved", "scheduled")
_VERSION = re.compile(r"\b(celery|kombu|billiard|redis|py-amqp):(\d[\w.]*)")


@dataclass(frozen=True)
class Worker:
    """One worker, by what it answered."""

    name: str
    stats: Mapping[str, Any] = field(default_factory=dict)
    queues: tuple[str, ...] = ()
    tasks: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: str = ""
    held: tuple[Mapping[str, Any], ...] = ()
    active: tuple[Mapping[str, Any], ...] = ()

    @property
    def pool(self) -> str:
        """``prefork``, ``threads``, ``gevent``, ``eventlet`` or ``solo``; empty where it did not say."""
        text = str(self.stats.get("pool", {}).get("implementation", ""))
        known = {
            "prefork": "prefork",
            "thread": "threads",
            "gevent": "gevent",
            "eventlet": "eventlet",
            "solo": "solo",
        }
        return next((name for part, name in known.items() if part in text), "")

    @property
    def versions(self) -> dict[str, str]:
        """What it runs, by distribution."""
        return {name.replace("py-", ""): version for name, version in _VERSION.findall(self.report)}


@dataclass(frozen=True)
class Fleet:
    """The workers that answered; ``twice`` are names that several have, ``durations`` seconds by task, as watched."""

    workers: tuple[Worker, ...] = ()
    twice: tuple[str, ...] = ()
    durations: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def queues(self) -> frozenset[str]:
        """Every queue that one of them listens to."""
        return frozenset(queue for worker in self.workers for queue in worker.queues)


def ask(app: Celery, timeout: float, watch: float) -> Fleet:
    """Ask all workers at once, and listen to their events for ``watch`` seconds.

    Args:
        app: whose workers.
        timeout: seconds that they have to answer.
        watch: seconds; 0 to listen to none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DuplicateNodenameWarning)  # there is a rule that says so
            names = [name for reply in app.control.ping(timeout=timeout) for name in reply]
            told = _answers(app, timeout) if names else {}
    except (OperationalError, OSError):
        return Fleet()
    counted = Counter(names)
    workers = tuple(_worker(name, told) for name in sorted(counted))
    durations = _running(workers)
    if watch and workers:
        for task, seconds in _watched(app, watch).items():
            durations.setdefault(task, []).extend(seconds)
    return Fleet(workers, tuple(sorted(name for name, times in counted.items() if times > 1)), durations)


def _answers(app: Celery, timeout: float) -> dict[str, dict[str, Any]]:
    """Return what each question got from whom, asked side by side."""

    def answer(question: str) -> dict[str, Any]:
        found = getattr(app.control.inspect(timeout=timeout), question)()
        return found if isinstance(found, dict) else {}

    with ThreadPoolExecutor(len(_QUESTIONS)) as pool:
        return dict(zip(_QUESTIONS, pool.map(answer, _QUESTIONS), strict=True))


def _worker(name: str, told: Mapping[str, Mapping[str, Any]]) -> Worker:
    def of(question: str) -> Any:
        found = told.get(question, {}).get(name)
        return None if isinstance(found, dict) and "error" in found else found

    tasks = frozenset(str(each).partition(" [")[0] for each in of("registered") or ())
    scheduled = [each.get("request", {}) for each in of("scheduled") or ()]
    active = tuple(of("active") or ())
    report = of("report")
    return Worker(
        name,
        of("stats") or {},
        tuple(str(each.get("name")) for each in of("active_queues") or ()),
        tasks,
        of("conf") or {},
        str(report.get("ok", "")) if isinstance(report, dict) else "",
        (*active, *(of("reserved") or ()), *scheduled),
        active,
    )


def _running(workers: Sequence[Worker]) -> dict[str, list[float]]:
    """Return how long what runs now has been running."""
    found: dict[str, list[float]] = {}
    now = time.time()
    for worker in workers:
        for each in worker.active:
            start = each.get("time_start")
            if isinstance(start, int | float) and now >= start:
                found.setdefault(str(each.get("name")), []).append(now - start)
    return found


def _watched(app: Celery, seconds: float) -> dict[str, list[float]]:
    """Return the durations of the tasks that end within the next seconds, where workers send events."""
    names: dict[str, str] = {}
    found: dict[str, list[float]] = {}

    def received(event: Mapping[str, Any]) -> None:
        names[str(event.get("uuid"))] = str(event.get("name"))

    def succeeded(event: Mapping[str, Any]) -> None:
        name = names.get(str(event.get("uuid")))
        if name:
            found.setdefault(name, []).append(float(event.get("runtime") or 0.0))

    until = time.monotonic() + seconds
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(
            connection, handlers={"task-received": received, "task-succeeded": succeeded}
        )
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(socket.timeout, TimeoutError):
                for _ in receiver.consume(limit=None, timeout=min(left, 1.0), wakeup=False):
                    if time.monotonic() >= until:  # on a busy fleet there always is a next event
                        break
    return found
