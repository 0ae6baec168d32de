"""Kill storms: calls under way while their processes are killed at seeded moments, and what that costs."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from celery.result import AsyncResult

from tests.services import own_rabbitmq
from tests.shops import Caller, Family, Shop, family_of, kill, own_server, stop_worker
from tests.waiting import wait_for
from tests.workers import Worker

#: Seconds without a single result after which what is missing counts as lost.
PATIENCE = 40.0
#: Longest time between two kills.
LONGEST_CALM = 0.6
#: So many calls wait whenever something is killed; more are sent together, of an edited tree each time.
LEAST_WAITING = 40
SENT_AT_ONCE = 60
SECONDS_A_CALL = 0.03

#: On Redis a worker takes back, when it starts, what the one before it has held for longer than this, in seconds.
_VISIBILITY = 1

VICTIMS: dict[str, Callable[[Family], list[psutil.Process]]] = {
    "host": lambda family: family.hosts,
    "zygote": lambda family: family.zygotes,
    "agent": lambda family: family.agents,
    "pool": lambda family: family.pool,
    "worker": lambda family: [family.main],
}


@dataclass(slots=True)
class Toll:
    """What a storm cost: counts of calls, and of kills by victim.

    Of the lost, ``unseen`` are those that no worker ever had: kombu takes a
    message off a list of Redis by one command and notes that it holds it by
    the next, and a worker that is killed in between loses it, whatever it says.
    """

    sent: int = 0
    right: int = 0
    wrong: int = 0
    lost: int = 0
    unseen: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def cost(self) -> int:
        """How many of the calls that a worker had did not end right."""
        return self.lost - self.unseen + self.wrong + self.failed.total()

    def __str__(self) -> str:
        failed = " ".join(f"{name}={count}" for name, count in sorted(self.failed.items())) or "none"
        kills = " ".join(f"{name}={count}" for name, count in sorted(self.kills.items()))
        return (
            f"{self.sent} calls, {self.right} right, {self.wrong} wrong, {self.lost} lost ({self.unseen} unseen), "
            f"failed: {failed}; kills: {kills}; {self.seconds:.0f} s"
        )


@contextmanager
def stormy_shop(folder: Path, broker: str = "rabbitmq") -> Iterator[Shop]:
    """A shop on RabbitMQ or on Redis, with results in a server of its own.

    RabbitMQ delivers again at once what a dead worker held, Redis when the next worker starts.
    """
    with ExitStack() as owned:
        server = own_server(owned)
        settings: dict[str, Any]
        if broker == "rabbitmq":
            rabbitmq = owned.enter_context(own_rabbitmq())
            url, settings = rabbitmq.url, {"task_default_queue": rabbitmq.queue}
        else:
            url, settings = (
                server.broker_url,
                {"broker_transport_options": {"visibility_timeout": _VISIBILITY}},
            )
        shop = Shop(folder, url, server.result_backend)
        owned.callback(shop.close)
        shop.configure(**settings, worker_cancel_long_running_tasks_on_connection_loss=False)
        yield shop


def is_redis(shop: Shop) -> bool:
    """Whether its broker is Redis, where the death of a worker may cost a message: see `Toll`."""
    return str(shop.settings["broker_url"]).startswith("redis")


class Storm:
    """One storm over one worker, which is started again whenever its main process was killed.

    Args:
        shop: where it happens.
        way: ``"live"`` or ``"deployed"``.
        task: of ``shop.tasks``; it squares a number.
        victims: the names of what is killed, in any order.
        seed: of the order and the moments.
        pool: of the worker.
    """

    def __init__(
        self, shop: Shop, way: str, task: str, victims: list[str], seed: int, pool: str = "prefork"
    ) -> None:
        self._shop, self._way, self._task, self._pool = shop, way, task, pool
        self._random = random.Random(seed)
        self._victims = self._random.sample(victims, len(victims))
        self._expected: dict[str, int] = {}
        self._pending: set[str] = set()
        self.toll = Toll()

    def run(self) -> Toll:
        """Let it rage, and count when it is over."""
        began = time.monotonic()
        caller = self._shop.caller()
        worker = self._shop.worker(f"storm-{self._way}", "-P", self._pool, "-c", "2")
        try:
            for victim in self._victims:
                self._feed(caller)
                self._kill(victim, worker)
            self._feed(caller)
            self._count(worker)
        finally:
            self._shop.write("tasks.py", self._shop.tasks)
            caller.stop()
            stop_worker(worker)
        self.toll.seconds = time.monotonic() - began
        return self.toll

    def _feed(self, caller: Caller) -> None:
        """See to it that calls wait, of a new version of the tree each time."""
        self._look()
        if len(self._pending) >= LEAST_WAITING:
            return
        first, version = len(self._expected), 0
        call = f"tasks.{self._task}"
        if self._way == "live":  # deployed code stays as it was when the worker started
            call, version = f"{call}.live", first
            edited = self._shop.tasks.replace("number * number", f"number * number + {version}")
            self._shop.write("tasks.py", edited)
        numbers = range(first, first + SENT_AT_ONCE)
        ids = caller.do(f"[{call}.apply_async((n, {SECONDS_A_CALL})).id for n in {numbers}]")
        self._expected |= {each: n * n + version for each, n in zip(ids, numbers, strict=True)}
        self._pending |= set(ids)
        self.toll.sent = len(self._expected)

    def _kill(self, victim: str, worker: Worker) -> None:
        _wait(self._random.uniform(0, LONGEST_CALM))
        doomed = wait_for(lambda: self._found(victim, worker), what=f"there is a {victim}")
        if kill(self._random.choice(doomed)):
            self.toll.kills[victim] += 1
        if victim == "worker":
            stop_worker(worker)
            _wait(_VISIBILITY)
            worker.start()

    def _found(self, victim: str, worker: Worker) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return VICTIMS[victim](family_of(worker.pid))
        return []

    def _look(self) -> None:
        self._pending = {each for each in self._pending if not self._result(each).ready()}

    def _result(self, task_id: str) -> AsyncResult:
        return AsyncResult(task_id, app=self._shop.app)

    def _count(self, worker: Worker) -> None:
        progress = time.monotonic()
        while self._pending and time.monotonic() - progress < PATIENCE:
            before = len(self._pending)
            self._look()
            if len(self._pending) < before:
                progress = time.monotonic()
            _wait(0.1)
        self.toll.lost = len(self._pending)
        log = worker.text()
        self.toll.unseen = sum(f"[{each}] received" not in log for each in self._pending)
        for task_id in self._expected.keys() - self._pending:
            self._note(self._result(task_id), self._expected[task_id])

    def _note(self, result: AsyncResult, expected: int) -> None:
        if not result.successful():
            self.toll.failed[type(result.result).__name__] += 1
        elif result.result == expected:
            self.toll.right += 1
        else:
            self.toll.wrong += 1


def _wait(seconds: float) -> None:
    moment = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= moment, seconds + 5)
