"""What a snapshot's own code does about a call that ended in the worker's main process, run in a host."""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
import time
from collections.abc import Iterator
from typing import Any

from celery.app.task import Context

from autocelery._celery import calls, serving
from autocelery_host.header import HEADER, target_of

logger = logging.getLogger(__name__)

#: Seconds that a worker which stops waits for the last of it.
PATIENCE = 10.0
#: What is still to be done about the calls that end just now: ``(step, exception)`` in order, by id.
_steps: dict[str, list[tuple[str, BaseException]]] = {}
_threads: set[threading.Thread] = set()


@contextlib.contextmanager
def of(request: Any) -> Iterator[None]:
    """Gather what is noted of ``request`` in this block, then have a host do it; nobody waits for that."""
    _steps[request.id] = []
    try:
        yield
    finally:
        steps = _steps.pop(request.id, None)
        if steps:
            work = (request, request.request_dict[HEADER], steps)
            thread = threading.Thread(target=_do, args=work, name=f"aftermath-{request.id}", daemon=True)
            _threads.add(thread)
            thread.start()


def finish(deadline: float = PATIENCE) -> None:
    """Wait up to ``deadline`` seconds for what hosts still do about calls that have ended."""
    end = time.monotonic() + deadline
    for thread in list(_threads):
        thread.join(max(0.0, end - time.monotonic()))


def note(task_id: str, step: str, exc: BaseException) -> None:
    """Remember that the call ``task_id`` needs ``step`` done."""
    if task_id in _steps:
        _steps[task_id].append((step, exc))


class BackendOfMainProcess:
    """The result backend, where the errbacks of a call that ends just now are noted, not called."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def mark_as_failure(
        self, task_id: str, exc: BaseException, traceback: Any = None, request: Any = None, **options: Any
    ) -> None:
        """Store a failure, and see to chord and chain, as Celery does."""
        if request is not None and request.errbacks and task_id in _steps:
            options["call_errbacks"] = False
            note(task_id, "errbacks", exc)
        self._backend.mark_as_failure(task_id, exc, traceback, request=request, **options)


def _do(request: Any, header: dict[str, Any], steps: list[tuple[str, BaseException]]) -> None:
    try:
        _in_host(request, header, steps)
    finally:
        _threads.discard(threading.current_thread())


def _in_host(request: Any, header: dict[str, Any], steps: list[tuple[str, BaseException]]) -> None:
    message = dict(request.request_dict)
    try:
        payload = pickle.dumps((request.id, request.args, request.kwargs, message, steps), protocol=5)
        lease = serving.hosts().checkout(*target_of(calls.checked(header)))
        answered = False
        try:
            answered = lease.call(payload) is not None
        finally:
            (serving.hosts().checkin if answered else serving.hosts().discard)(lease)
    except Exception as exc:  # noqa: BLE001 - whatever it was, the errbacks must still be sent
        names = ", ".join(name for name, _ in steps)
        logger.error("%s of %s could not run: %r", names, request.humaninfo(), exc)
        _send_errbacks(request, steps)


def _send_errbacks(request: Any, steps: list[tuple[str, BaseException]]) -> None:
    """Send the errbacks as calls of their own, for whichever worker can run them."""
    context: Context = request._context
    for step, exc in steps:
        if step == "errbacks":
            request.task.app.backend._call_task_errbacks(context, exc, None)
