"""Celery in a FastAPI project: settings from the environment, a lifespan, results as a dependency and a router.

Example::

    celery = celery_app("shop", include=["shop.tasks"])
    app = FastAPI(lifespan=lifespan(celery))
    app.include_router(tasks_router(celery))
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from celery import Celery
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from autocelery._celery.unreachable import broker_gone
from autocelery._eager.reconnecting import close_producers
from autocelery.errors import ConfigurationError
from autocelery.presets._making import make_app
from autocelery.presets._options import options_from
from autocelery.presets._settings import Framework
from autocelery.presets._streaming import INTERVAL, LONGEST, TaskState, events, state_of
from autocelery.presets._tasks import CheckedTask

try:
    from anyio import to_thread
    from fastapi import APIRouter, Depends, FastAPI, Path
    from fastapi.responses import StreamingResponse
except ModuleNotFoundError as exc:
    raise ConfigurationError(
        "autocelery.presets.fastapi needs FastAPI, which is not installed. Run: pip install autocelery[fastapi]"
    ) from exc

__all__ = ["TaskState", "celery_app", "lifespan", "result_of", "tasks_router"]

logger = logging.getLogger("autocelery.presets")

#: What ids of tasks are made of: Celery's own are UUIDs, but any text may be given.
_TASK_ID = r"^[A-Za-z0-9_.:@+-]+$"
_ON = ("1", "true", "yes", "on")

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any] | None]]


def celery_app(
    name: str,
    *,
    debug: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    include: list[str] | None = None,
    **options: Any,
) -> Celery:
    """Return the Celery app of a FastAPI project, with its settings from the environment.

    Without a broker, tasks run in the calling process where ``debug`` is on, or pytest runs.

    Args:
        name: the project's package.
        debug: whether this is a machine for development; by default what the variable ``DEBUG`` says.
        settings: the project's own settings, by Celery's names; they win.
        include: modules with tasks.
        **options: of `autocelery.presets`: ``time_limit``, ``prefix``, ``broker_url`` and so on.

    Raises:
        ConfigurationError: an option is not known, or a setting is malformed.
        BrokerNotConfigured: there is no broker, and this is no machine for development.

    Example:
        >>> celery_app("shop", time_limit=600, broker_url="redis://").conf.task_time_limit
        600
    """
    if debug is None:
        debug = os.environ.get("DEBUG", "").strip().lower() in _ON
    framework = Framework(project=name, settings={})
    chosen = options_from(options, "celery_app")
    return make_app(framework, chosen, settings or {}, debug, include=include or [], task_cls=CheckedTask)


def lifespan(celery: Celery, inner: Lifespan | None = None) -> Lifespan:
    """Return a lifespan that opens a connection for what is sent, and closes connections at the end.

    A broker that does not answer is a warning: it may come later, and whoever calls meets it then.

    Args:
        celery: the Celery app.
        inner: the project's own lifespan, inside of this one.
    """

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[Mapping[str, Any] | None]:
        await to_thread.run_sync(_open, celery)
        try:
            async with AsyncExitStack() as stack:
                yield await stack.enter_async_context(inner(app)) if inner is not None else None
        finally:
            await to_thread.run_sync(close_producers, celery)

    return opened


def _open(celery: Celery) -> None:
    try:
        with celery.producer_or_acquire() as producer:
            producer.connection.ensure_connection(max_retries=1, timeout=5)
    except (OperationalError, OSError) as exc:
        logger.warning("%s", broker_gone(celery, exc, "tasks cannot be sent until it can"))


def result_of(celery: Celery) -> Callable[[str], AsyncResult]:
    """Return a dependency that gives the result of the call whose id is ``task_id`` in the path.

    >>> from fastapi import Depends, FastAPI
    >>> app, celery = FastAPI(), celery_app("shop", broker_url="redis://")
    >>> @app.get("/reports/{task_id}")
    ... def report(result: Annotated[AsyncResult, Depends(result_of(celery))]):
    ...     return result.state
    """

    def dependency(task_id: Annotated[str, Path(pattern=_TASK_ID, max_length=255)]) -> AsyncResult:
        return celery.AsyncResult(task_id)

    return dependency


def tasks_router(
    celery: Celery,
    *,
    prefix: str = "/tasks",
    interval: float = INTERVAL,
    longest: float = LONGEST,
    **options: Any,
) -> APIRouter:
    """Return a router with ``GET /{task_id}`` and, as server-sent events, ``GET /{task_id}/events``.

    Both are open to who knows an id: give ``dependencies=[Depends(...)]`` that check who asks.

    Args:
        celery: the Celery app.
        prefix: where it is mounted.
        interval: seconds between two looks at the result backend, for each stream.
        longest: seconds after which a stream ends; a browser's ``EventSource`` comes back by itself.
        **options: of `fastapi.APIRouter`.
    """
    router = APIRouter(prefix=prefix, **{"tags": ["tasks"], **options})
    result = Depends(result_of(celery))

    @router.get("/{task_id}")
    def get_task(result: AsyncResult = result) -> TaskState:
        """Return the state of a task. One that nobody has sent is ``PENDING``, as one that waits."""
        return state_of(result)

    @router.get("/{task_id}/events", response_class=StreamingResponse)
    async def get_events(result: AsyncResult = result) -> StreamingResponse:
        """Stream the state of a task each time it changes, until it has ended."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = events(result, interval, longest)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    return router
