"""Whether a running worker listens to the queue that a call goes to: else it waits there, and nobody says so.

Of a plain call to a queue of the table, a thread asks the workers after it was sent, in each process and of
each queue at most once in some minutes: the call itself costs nothing more, and who sends seldom still hears of
it at once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

from celery import Celery, signals

logger = logging.getLogger(__name__)

#: Seconds that workers have to answer, and from one question to the next of the same queue.
_PATIENCE, _ASK_SECONDS = 3.0, 300.0
#: The app's setting that turns it off.
SETTING = "autocelery_warn_unattended"


def queues_of_workers(app: Celery, timeout: float, **options: Any) -> Mapping[str, tuple[str, ...]]:
    """Return the queues that each running worker listens to, by its name; any worker, with or without autocelery.

    Args:
        app: whose broker is asked.
        timeout: seconds that workers have to answer.
        **options: of ``app.control.inspect``.
    """
    answers = app.control.inspect(timeout=timeout, **options).active_queues() or {}
    return {
        worker: tuple(each["name"] for each in queues)
        for worker, queues in answers.items()
        if isinstance(queues, list)
    }


def install(app: Celery, queues: Collection[str]) -> None:
    """Have a process that sends to one of these queues warn where no running worker listens to it."""
    if app.conf.get(SETTING, True):
        signals.after_task_publish.connect(
            Attendance(app, queues).look, weak=False, dispatch_uid=(id(app), SETTING)
        )


class Attendance:
    """What a process that sends knows of who listens.

    Args:
        app: whose workers are asked.
        queues: to which calls are looked after.
    """

    def __init__(self, app: Celery, queues: Collection[str]) -> None:
        self._app = app
        self._queues = frozenset(queues)
        self._asked_at: dict[str, float] = {}

    def look(self, sender: str, routing_key: str = "", **_: Any) -> None:
        """Find out, beside what goes on here, whether a worker listens to the queue of a call that was sent."""
        is_worker = "AUTOCELERY_AGENT" in os.environ  # they send too, and are many
        if is_worker or routing_key not in self._queues:
            return
        now = time.monotonic()
        if now < self._asked_at.get(routing_key, -_ASK_SECONDS) + _ASK_SECONDS:
            return
        self._asked_at[routing_key] = now
        threading.Thread(
            target=self._ask, args=(sender, routing_key), name="autocelery-attendance", daemon=True
        ).start()

    def _ask(self, task: str, queue: str) -> None:
        try:
            listening = queues_of_workers(self._app, _PATIENCE)
        except Exception as error:  # noqa: BLE001 - it is advice: a broker that is gone is told of by the calls
            logger.debug("who listens to %s is not known: %r", queue, error)
            return
        if any(queue in each for each in listening.values()):
            return
        who = "no running worker listens" if listening else "no worker says that it listens"
        logger.warning(
            "%s was sent to the queue %r, to which %s: it waits there. Start one: celery -A ... worker -Q %s",
            task,
            queue,
            who,
            queue,
        )
