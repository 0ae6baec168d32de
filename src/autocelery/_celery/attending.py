"""Whether a running worker listens to the queue that a call goes to: else it waits there, and nobody says so.

Of a plain call to a queue of the table, and of a live call to any queue, a thread finds out after it was sent,
in each process and of each queue at most once in some minutes: the call itself costs nothing more, and who sends
seldom still hears of it at once.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from celery import Celery, signals

from autocelery_host import current_snapshot
from autocelery_host.header import HEADER
from autocelery_host.messages import SentHeaders

logger = logging.getLogger(__name__)

#: Seconds that workers have to answer, and from one question to the next of the same queue.
PATIENCE, _ASK_SECONDS = 3.0, 300.0
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
    """Have a process that sends plain calls to one of these queues warn where no running worker listens to it."""
    table = frozenset(queues)
    look_after(app, lambda queue, is_live: queue in table and not is_live, _tell)


def look_after(
    app: Celery, concerns: Callable[[str, bool], bool], tell: Callable[[Celery, str, str], None]
) -> None:
    """Have ``tell`` find out, in a thread, what becomes of calls that this process sends.

    Args:
        app: whose calls.
        concerns: tells by the routing key of a call, and whether it is live, if it is to be looked after.
        tell: gets the app, the name of a task and the routing key of its call, and logs what is wrong.
    """
    attendance = Attendance(app, concerns, tell)
    signals.after_task_publish.connect(attendance.look, weak=False, dispatch_uid=(id(app), tell))


class Attendance:
    """What a process that sends knows of who listens; its arguments are those of `look_after`."""

    def __init__(
        self, app: Celery, concerns: Callable[[str, bool], bool], tell: Callable[[Celery, str, str], None]
    ) -> None:
        self._app = app
        self._concerns = concerns
        self._tell = tell
        self._asked_at: dict[str, float] = {}

    def look(self, sender: str, routing_key: str = "", headers: object = None, **_: Any) -> None:
        """Find out, beside what goes on here, whether a worker listens to the queue of a call that was sent."""
        is_worker = "AUTOCELERY_AGENT" in os.environ  # they send too, and are many
        if is_worker or not isinstance(headers, SentHeaders) or headers.app_id != id(self._app.amqp.app):
            return
        if hasattr(self._app, "autocelery_eager") or not self._concerns(routing_key, HEADER in headers):
            return  # what this process runs itself waits nowhere
        now = time.monotonic()
        if now < self._asked_at.get(routing_key, -_ASK_SECONDS) + _ASK_SECONDS:
            return
        self._asked_at[routing_key] = now
        if current_snapshot() is None and self._app.conf.get(SETTING, True):
            threading.Thread(
                target=self._ask, args=(sender, routing_key), name="autocelery-attendance", daemon=True
            ).start()

    def _ask(self, task: str, queue: str) -> None:
        try:
            self._tell(self._app, task, queue)
        except Exception as error:  # noqa: BLE001 - it is advice: a broker that is gone is told of by the calls
            logger.debug("who listens to %s is not known: %r", queue, error)


def _tell(app: Celery, task: str, queue: str) -> None:
    listening = queues_of_workers(app, PATIENCE)
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
