"""What is known of an app's workers, queues and tasks: told by their events, and asked where none tell it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from celery import Celery
from celery.events.state import State
from celery.events.state import Task as SeenTask
from celery.states import READY_STATES
from kombu.exceptions import OperationalError

from autocelery._celery import attending
from autocelery._celery import queues as broker_queues
from autocelery._dashboard.telling import Telling

logger = logging.getLogger(__name__)

#: How many tasks are remembered, the latest.
MOST_TASKS: Final = 1000
#: Seconds between two looks at the queues, and between two questions to the workers.
_LOOK_SECONDS: Final = 1.0
_ASK_SECONDS: Final = 5.0
#: Seconds for an answer of the workers, and until a broker that is gone is tried again.
_PATIENCE: Final = 1.0
_PAUSE: Final = 2.0
#: Characters of one value that are shown: of an argument's or a result's text, of a traceback.
_MOST_SHOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class ShownTask:
    """One task. Moments are seconds since 1970, ``seconds`` is how long it ran."""

    id: str
    name: str
    state: str
    args: str
    kwargs: str
    worker: str
    queue: str
    at: float
    seconds: float | None
    result: str
    traceback: str
    retries: int


@dataclass(frozen=True, slots=True)
class ShownWorker:
    """One worker. ``tells`` is whether it sends events of tasks, as far as is known: else they are not seen."""

    name: str
    alive: bool
    running: int
    processed: int
    queues: tuple[str, ...]
    tells: bool


@dataclass(frozen=True, slots=True)
class ShownQueue:
    """One queue: how many messages wait in it, ``None`` where that is not known, and who listens to it."""

    name: str
    length: int | None
    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """All of it, at one moment; ``problem`` says why it is not up to date."""

    workers: tuple[ShownWorker, ...] = ()
    queues: tuple[ShownQueue, ...] = ()
    tasks: tuple[ShownTask, ...] = ()
    problem: str = ""

    def told(self) -> dict[str, Any]:
        """Return it as JSON carries it."""
        return asdict(self)


@dataclass
class _Asked:
    """What workers answered: the queues of each."""

    queues: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lengths: dict[str, int | None] = field(default_factory=dict)


class Fleet:
    """Watches an app's broker. Owns two threads and their connections, from `start` to `stop`.

    Args:
        app: whose workers, queues and tasks these are.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._state = State(max_tasks_in_memory=MOST_TASKS)
        self._telling = Telling()
        self._lock = threading.Lock()
        self._asked = _Asked()
        self._problem = ""
        self._stop = threading.Event()
        self._queue_of: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._keep, args=(each,), name=f"dashboard {each.__name__}", daemon=True)
            for each in (self._hear, self._look)
        ]

    def start(self) -> None:
        """Watch from now on."""
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """Watch no more, within two seconds."""
        self._stop.set()
        for each in self._threads:
            each.join(2 * _PATIENCE)

    def shown(self) -> Shown:
        """Return what is known now, the latest tasks first."""
        with self._lock:
            workers, tasks = dict(self._state.workers), list(self._state.tasks_by_time())
            shown = [self._task(task) for _, task in tasks if task.name]
            running: dict[str, int] = {}
            for each in shown:
                if each.state == "STARTED":
                    running[each.worker] = running.get(each.worker, 0) + 1
            return Shown(
                tuple(
                    self._worker(name, workers.get(name), running)
                    for name in sorted({*workers, *self._asked.queues})
                ),
                tuple(self._queues()),
                tuple(shown),
                self._problem,
            )

    def _task(self, task: SeenTask) -> ShownTask:
        began, ended = task.started, task.succeeded or task.failed or task.revoked
        seconds = task.runtime
        if seconds is None and began:
            seconds = (ended or (time.time() if task.state not in READY_STATES else began)) - began
        return ShownTask(
            id=task.uuid,
            name=task.name,
            state=task.state,
            args=_short(task.args),
            kwargs=_short(task.kwargs),
            worker=task.worker.hostname if task.worker else "",
            queue=self._queue_of.get(task.uuid, ""),
            at=task.received or task.sent or task.timestamp or 0.0,
            seconds=max(seconds, 0.0) if seconds is not None else None,
            result=_short(task.exception or task.result),
            traceback=_short(task.traceback),
            retries=task.retries or 0,
        )

    def _worker(self, name: str, seen: Any, running: Mapping[str, int]) -> ShownWorker:
        return ShownWorker(
            name=name,
            alive=bool(seen.alive) if seen is not None else True,
            running=running.get(name, 0),
            processed=(seen.processed or 0) if seen is not None else 0,
            queues=self._asked.queues.get(name, ()),
            tells=seen is not None and not self._telling.is_silent(name),
        )

    def _queues(self) -> list[ShownQueue]:
        listeners: dict[str, list[str]] = {}
        for worker, queues in self._asked.queues.items():
            for queue in queues:
                listeners.setdefault(queue, []).append(worker)
        return [
            ShownQueue(name, length, tuple(sorted(listeners.get(name, ()))))
            for name, length in sorted(self._asked.lengths.items())
        ]

    def _keep(self, what: Callable[[], None]) -> None:
        """Do ``what`` until told to stop, again where the broker was gone."""
        while not self._stop.is_set():
            try:
                what()
            except (OperationalError, OSError) as error:
                self._problem = f"The broker does not answer: {error}"
            except Exception:
                logger.exception("the dashboard stumbled and goes on")
            self._stop.wait(_PAUSE)

    def _hear(self) -> None:
        with self._app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=0)
            receiver = self._app.events.Receiver(connection, handlers={"*": self._take})
            with receiver.consumer_context() as (own, _, _):
                self._problem = ""
                with self._lock:
                    self._telling.forget()
                while not self._stop.is_set():
                    try:
                        own.drain_events(timeout=_PATIENCE)
                    except TimeoutError:
                        own.heartbeat_check()

    def _take(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._state.event(event)
            if event["type"] != "task-sent":  # that is from who called, not from a worker
                self._telling.take(event)
            else:
                while len(self._queue_of) >= 2 * MOST_TASKS:
                    del self._queue_of[next(iter(self._queue_of))]
                self._queue_of[event["uuid"]] = str(event.get("queue") or "")

    def _look(self) -> None:
        next_question = 0.0
        with self._app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=0)
            while not self._stop.is_set():
                if time.monotonic() >= next_question:
                    self._ask(connection)
                    next_question = time.monotonic() + _ASK_SECONDS
                names = {
                    *self._app.amqp.queues,
                    *(name for each in self._asked.queues.values() for name in each),
                }
                found = {name: broker_queues.length_of(connection, name) for name in names}
                with self._lock:
                    self._asked.lengths = found
                self._stop.wait(_LOOK_SECONDS)

    def _ask(self, connection: Any) -> None:
        found = dict(attending.queues_of_workers(self._app, _PATIENCE, connection=connection))
        with self._lock:
            self._asked.queues = found


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
