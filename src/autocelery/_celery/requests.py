"""A live call in the worker's main process: there it goes by its task's name, and its failures end in a host.

Celery ends some calls in the main process: the process that ran them died, a
hard time limit passed, a task rejected its message. The result, the chord and
the events are written from here, as for any task. What is the task's own code
(``on_failure``, ``after_return``, errbacks that take the exception) runs in a
host of the call's snapshot, shortly after.
"""

from __future__ import annotations

from typing import Any

from celery.app.task import Context
from celery.worker.request import Request
from kombu.utils.objects import cached_property

from autocelery._celery import aftermath
from autocelery._celery.live_task import LiveTask
from autocelery_host.header import HEADER


class LiveRequest(Request):
    """Celery's request with the name of the task that is called, wherever Celery shows or stores it."""

    @cached_property
    def _context(self) -> Context:
        """What results, signals and chords are told of the call."""
        context = Request._context.__get__(self, type(self))
        name = context.autocelery["task"]
        context.task = name
        context.shadow = None if context.shadow == name else context.shadow
        return context

    def info(self, safe: bool = False) -> dict[str, Any]:
        """Return what remote control shows."""
        return {**super().info(safe), "type": self.request_dict[HEADER]["task"]}

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Handle a time limit, then let a host do what is the snapshot's part of it."""
        with aftermath.of(self):
            super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Handle a failure, then let a host do what is the snapshot's part of it."""
        with aftermath.of(self):
            super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)


class ReceivedTask(LiveTask):
    """The live task as the main process sees it: with the name and the options of the task that is called."""

    abstract = True
    Request = LiveRequest

    @property
    def backend(self) -> Any:
        """The app's backend; errbacks of live calls wait for a host."""
        return aftermath.BackendOfMainProcess(self.app.backend)

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Leave the hook to a host."""
        aftermath.note(task_id, "on_failure", exc)

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Leave the hook to a host."""
        aftermath.note(task_id, "after_return", retval)
