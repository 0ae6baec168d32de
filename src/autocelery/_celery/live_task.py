"""The live task: the one special task that autocelery adds to an app."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app.task import Task

from autocelery.errors import AutoceleryError, ConfigurationError, WrongCall
from autocelery_host import current_snapshot
from autocelery_host.header import HEADER, LIVE_TASK

#: Snapshots that this process made: their tasks are the ones in its registry.
made_here: set[str] = set()
#: An attribute of an app while its worker is a thread of a test's process, which starts no hosts.
IN_A_THREAD = "autocelery_worker_in_a_thread"


class LiveTask(Task):
    """Runs a live call in a host of its snapshot, where Celery would run a function.

    Celery's worker takes a task's tracer from ``__trace__``. Here that is a
    property, so that whatever Celery builds and assigns is left aside, and
    the host's tracer, which is Celery's own, does the tracing.
    """

    name = LIVE_TASK
    Strategy = "autocelery._celery.strategy:live"
    typing = False
    ignore_result = False

    @property
    def __trace__(self) -> Any:
        return self._trace

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        """Celery assigns a tracer in each pool process; the host has its own."""

    def _trace(self, uuid: str, args: Any, kwargs: Any, request: dict[str, Any] | None = None) -> Any:
        from autocelery._celery import calls  # a caller never needs what it brings along

        return calls.run(self, uuid, args, kwargs, request or {})

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Say how a signature of a live call is sent: this is what calling one as a function comes to.

        Raises:
            WrongCall: always.
        """
        raise WrongCall(
            "A signature of a live call is no function: a live call runs on a worker. Send it with .delay() or "
            ".apply_async(), or run the function here, as in add(2, 2)."
        )

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Send what a signature of a live call holds, as its real task would be sent."""
        header = _taken_from(options)
        name = header["task"]
        options.pop("route_name", None)
        if options.get("shadow") == name:
            del options["shadow"]
        task = self.app.tasks.get(name)
        if task is not None and (_is_ours(header["snapshot"]) or self.app.conf.task_always_eager):
            return task.apply_async(args, kwargs, **options)
        return self.app.send_task(name, args, kwargs, task_type=self, **options)

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Run the real task here and now, as Celery's ``apply`` does."""
        return self.app.tasks[_taken_from(options)["task"]].apply(args, kwargs, **options)


def _taken_from(options: dict[str, Any]) -> Any:
    """Return the header of a live call, and see to it that it is among the headers in ``options``.

    A signature holds it twice: whoever sets headers of a signature replaces those that it had.
    """
    headers = options.get("headers") or {}
    header = options.pop(HEADER, None) or headers.get(HEADER)
    if header is None:
        raise AutoceleryError(
            f"{LIVE_TASK} was called without a snapshot. Call a task's own .live, as in add.live.delay(2, 2)."
        )
    options["headers"] = {**headers, HEADER: header}
    return header


def _is_ours(snapshot: str) -> bool:
    here = current_snapshot()
    return snapshot in made_here or (here is not None and here[0] == snapshot)


def require_process(app: Celery) -> None:
    """See that the worker of ``app`` can run live calls.

    Raises:
        ConfigurationError: it is a thread of a test's process.
    """
    if hasattr(app, IN_A_THREAD):
        raise ConfigurationError(
            "A live call runs in a process that a worker starts, and the worker of autocelery_memory_worker and "
            "autocelery_worker is a thread of the test: it runs none. Use autocelery_eager, where live calls run in "
            "the test's process, or start a worker of its own: celery -A ... worker"
        )


def add_to(app: Celery) -> None:
    """Register the live task with ``app``; a second time changes nothing."""
    if LIVE_TASK not in app._tasks:
        own = type("LiveTask", (LiveTask,), {"__module__": __name__})  # a task's class belongs to one app
        app.register_task(own())
