"""The progress that a task reports: ``self.update_state(state="PROGRESS", meta={"done": 3, "total": 10})``."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from celery.backends.asynchronous import AsyncBackendMixin
from celery.result import AsyncResult

logger = logging.getLogger(__name__)

STATE = "PROGRESS"
#: Seconds between two looks at a result backend that does not tell by itself.
INTERVAL = 0.3


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total``, both in whatever the task counts; ``total`` is ``None`` where it is not known."""

    done: float
    total: float | None
    text: str = ""


def progress_of(meta: Mapping[str, Any]) -> Progress | None:
    """Return the progress that a result's metadata tells of; ``None`` if it tells of none.

    ``current``, as in Celery's own examples, is taken for ``done``, and ``status`` or ``text`` shown.

    >>> progress_of({"status": "PROGRESS", "result": {"done": 3, "total": 10}})
    Progress(done=3, total=10, text='')
    """
    told = meta.get("result")
    if meta.get("status") != STATE or not isinstance(told, Mapping):
        return None
    done, total = told.get("done", told.get("current")), told.get("total")
    if not isinstance(done, int | float):
        return None
    text = str(told.get("text") or told.get("status") or "")
    return Progress(done, total if isinstance(total, int | float) else None, text)


def result_with_progress(result: AsyncResult, timeout: float | None, show: Callable[[Progress], None]) -> Any:
    """Return the result, or what the task raised, and call ``show`` with its progress until then.

    Raises:
        celery.exceptions.TimeoutError: it did not come in ``timeout`` seconds.
    """

    def take(meta: Mapping[str, Any]) -> None:
        progress = progress_of(meta)
        if progress is not None:
            show(progress)

    if isinstance(result.backend, AsyncBackendMixin):
        return result.get(timeout=timeout, propagate=False, on_message=take)
    with _polling(result, take):
        return result.get(timeout=timeout, propagate=False)


@contextlib.contextmanager
def _polling(result: AsyncResult, take: Callable[[Mapping[str, Any]], None]) -> Iterator[None]:
    stopping = threading.Event()

    def poll() -> None:
        while not stopping.wait(INTERVAL):
            try:
                take(result.backend.get_task_meta(result.id, cache=False))
            except Exception as exc:  # noqa: BLE001 - whatever a backend raises, who waits for the result meets it too
                logger.debug("The progress cannot be read: %r", exc)

    thread = threading.Thread(target=poll, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
