"""A worker that would take a call is looked for before the call is sent, and those that would fail it are named."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery._celery.attending import queues_of_workers
from autocelery._celery.unreachable import broker_gone
from autocelery._publish import naming
from autocelery._publish.inspecting import REPORT, WorkerReport, ask, report_of, workers
from autocelery.errors import AutoceleryError, ConfigurationError, NoWorkers, WorkerWithoutAutocelery

#: Seconds for any worker at all, where none has answered in time.
BUSY_SECONDS = 3.0
#: Seconds of silence after which those that are not busy have answered.
_SILENCE = 0.25


class _Enough(Exception):
    """What was asked is known: the other workers need not be waited for."""


class RollCall:
    """What workers answer while a call is made ready. Owns one thread, which ends when they are silent.

    Args:
        app: whose broker is asked.
        timeout: seconds that workers have to answer.
        queue: where the call would wait; ``None``: any.
    """

    def __init__(self, app: Celery, timeout: float, queue: str | None) -> None:
        self._app, self._timeout, self._queue = app, timeout, queue
        self._told: dict[str, Any] = {}
        self._failure: Exception | None = None
        self._is_known = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="autocelery-roll-call")
        self._thread.start()

    def has_taker(self) -> bool:
        """Whether a worker answers that would take the call; returns as soon as one does, or the time is up.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
        """
        self._is_known.wait()
        if isinstance(self._failure, OperationalError | OSError):
            raise broker_gone(self._app, self._failure) from self._failure
        if self._failure is not None:
            raise self._failure
        return any(map(self._would_take, self._told.values()))

    def reports(self) -> list[WorkerReport]:
        """Return those who have answered by now."""
        return [report_of(name, told) for name, told in sorted(self._told.items())]

    def failing(self) -> list[WorkerReport]:
        """Return those of the call's queue who would take the call and fail it; the busy ones are not waited for.

        Raises:
            BrokerUnavailable: the broker cannot be reached.
        """
        self._thread.join()
        found = {each.hostname: each for each in self.reports() if not each.runs_live_calls}
        if not found or self._queue is None:
            return list(found.values())
        whom = {"destination": list(found), "limit": len(found)}
        try:
            listening = queues_of_workers(self._app, self._timeout, **whom)
        except (OperationalError, OSError) as exc:
            raise broker_gone(self._app, exc) from exc
        return [each for name, each in found.items() if self._queue in listening.get(name, ())]

    def _would_take(self, told: dict[str, Any]) -> bool:
        has_live_task = REPORT in told and not told.get("refusal")
        return has_live_task and self._queue in (None, *told.get("queues", [self._queue]))

    def _ask(self) -> None:
        try:
            ask(self._app, REPORT, min(_SILENCE, self._timeout), self._hear)
            if (
                not self._is_known.is_set()
            ):  # a worker's first report takes longer, and so do transports that poll
                with contextlib.suppress(_Enough):
                    ask(self._app, REPORT, self._timeout, self._hear_one)
        except Exception as exc:  # noqa: BLE001 - raised where the answers are waited for
            self._failure = exc
        finally:
            self._is_known.set()

    def _hear(self, reply: dict[str, Any]) -> None:
        self._told = {**self._told, **reply}  # a new one: another thread may just look at the old one
        if any(map(self._would_take, reply.values())):
            self._is_known.set()

    def _hear_one(self, reply: dict[str, Any]) -> None:
        self._hear(reply)
        if self._is_known.is_set():
            raise _Enough


def require_worker(app: Celery, timeout: float = 1.0, queue: str | None = None) -> RollCall:
    """Return as soon as one worker with autocelery answers that listens to ``queue``, or to any.

    What is returned hears the others meanwhile.

    Raises:
        NoWorkers: no worker answers at all, or none listens to that queue.
        WorkerWithoutAutocelery: those that answer do not have the live task.
        ConfigurationError: those that have it refuse live calls.
        BrokerUnavailable: the broker cannot be reached.
    """
    called = RollCall(app, timeout, queue)
    if called.has_taker():
        return called
    found = called.reports()
    able = [each for each in found if each.runs_live_calls]
    if able and queue is not None:
        raise NoWorkers(_nobody_listens(app, queue, able))
    if not any(
        each.autocelery for each in found
    ):  # one without it may answer a ping only, and a busy one late
        found = workers(app, max(timeout, BUSY_SECONDS))
    if not any(each.runs_live_calls for each in found):
        raise _nobody_runs_it(app, found)
    return called


def _nobody_listens(app: Celery, queue: str, able: list[WorkerReport]) -> str:
    listening = "; ".join(f"{each.hostname} to {', '.join(each.queues) or 'none'}" for each in able)
    return (
        f"No worker with autocelery listens to the queue {queue!r}, where this call would wait; nothing was sent. "
        f"These listen: {listening}. Name another queue with --queue, start a worker for it: "
        f"celery {naming.options_of(app)} worker -Q {queue}, or send it all the same with --no-check."
    )


def _nobody_runs_it(app: Celery, found: list[WorkerReport]) -> AutoceleryError:
    refusing = [f"{each.hostname} refuses live calls: {each.refusal}" for each in found if each.refusal]
    if refusing:
        return ConfigurationError(" ".join(refusing))
    if found:
        return WorkerWithoutAutocelery(
            f"{', '.join(each.hostname for each in found)} would reject live calls: autocelery is not in the deployed "
            "app. Add `auto = Autocelery(app)` to it, install autocelery there, and restart the worker once."
        )
    return NoWorkers(
        f"No worker answers on this broker. Start one: celery {naming.options_of(app)} worker. If one runs, it may be "
        "busy: with the solo pool it answers nothing while it runs a task, and --no-check sends the call all the "
        "same. Else check that it uses the same broker and that remote control is on (worker_enable_remote_control)."
    )
