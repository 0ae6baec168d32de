"""The state of a task for who asks over HTTP: once, or as server-sent events each time it changes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

import anyio
from anyio import to_thread
from celery.result import AsyncResult
from celery.states import EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES, SUCCESS

#: Seconds between two looks at the result backend.
INTERVAL = 0.5
#: Seconds after which a stream ends.
LONGEST = 3600.0
#: Seconds after which a stream that has nothing to say says so: proxies close what is silent.
SILENCE = 15.0


@dataclass(frozen=True, slots=True)
class TaskState:
    """What is told of a task.

    ``result`` is there when it has succeeded, ``error`` (``type`` and
    ``message``) when it has not, ``progress`` what the task says of itself
    with ``update_state``. Tracebacks are not told.
    """

    id: str
    state: str
    ready: bool
    result: Any
    error: dict[str, str] | None
    progress: Any


def state_of(result: AsyncResult) -> TaskState:
    """Return the state of the task behind ``result``, with one look at the result backend."""
    meta = result.backend.get_task_meta(result.id, cache=False)
    state, value = meta["status"], meta.get("result")
    failed = state in PROPAGATE_STATES or state in EXCEPTION_STATES
    return TaskState(
        id=result.id,
        state=state,
        ready=state in READY_STATES,
        result=_plain(value) if state == SUCCESS else None,
        error=_error(value) if failed else None,
        progress=None if failed or state == SUCCESS else _plain(value),
    )


async def events(result: AsyncResult, interval: float, longest: float) -> AsyncIterator[str]:
    """Yield the state of a task as server-sent events, ``event: state``, until it has ended."""
    end = time.monotonic() + longest
    before: TaskState | None = None
    spoke = time.monotonic()
    while True:
        now = await to_thread.run_sync(state_of, result)
        if now != before:
            before, spoke = now, time.monotonic()
            yield f"event: state\ndata: {json.dumps(asdict(now))}\n\n"
        elif time.monotonic() - spoke > SILENCE:
            spoke = time.monotonic()
            yield ": still here\n\n"
        if now.ready or time.monotonic() > end:
            return
        await anyio.sleep(interval)


def _error(value: Any) -> dict[str, str]:
    return {"type": type(value).__name__, "message": str(value)}


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON can carry it, what it cannot carry as text."""
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError):  # keys that are no text, a value that contains itself
        return repr(value)
