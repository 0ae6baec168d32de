"""`auto.map` and `auto.wait`: many calls, their results in order, and a count of how they ended."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery.app.task import Task
from celery.exceptions import Retry
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import AsyncResult, allow_join_result

from autocelery._publish.calling import LiveCall
from autocelery.errors import AutoceleryError

if TYPE_CHECKING:
    from autocelery._publish.streaming import Follower

#: Calls that are under way at once, unless told otherwise.
DEFAULT_WINDOW = 64
#: With a known number of items, so many calls are made of them at most.
MOST_CALLS = 256


@dataclass(frozen=True, slots=True)
class Failure:
    """One call that failed: its id, its exception, and the traceback from the worker."""

    task_id: str
    exception: BaseException
    traceback: str


@dataclass(frozen=True, slots=True)
class Waited:
    """How calls ended: ``pending`` counts those that had not when the time was up."""

    succeeded: int
    failures: tuple[Failure, ...]
    pending: int

    @property
    def failed(self) -> int:
        """How many calls failed."""
        return len(self.failures)


def mapped(
    live: Callable[..., LiveCall],
    function: Any,
    items: Iterable[Any],
    *,
    chunk: int | None = None,
    window: int = DEFAULT_WINDOW,
    timeout: float | None = None,
    progress: bool | None = None,
    follower: Follower | None = None,
) -> Iterator[Any]:
    """Return an iterator over the results of ``function`` for ``items``, in order; see `Autocelery.map`."""
    total = len(items) if isinstance(items, Sized) else None
    size = chunk or max(1, -(-(total or 1) // MOST_CALLS))
    inner = function.run if isinstance(function, Task) else function
    call = live(_over(inner), name=f"{getattr(function, '__name__', 'function')}.map")
    pinned = call.pinned()
    results = _results(pinned, _batches(items, size), window, timeout, follower)
    return _with_progress(results, total, progress)


def _batches(items: Any, size: int) -> Iterator[Any]:
    """Yield the items, ``size`` at a time: slices of an array or a data frame, which travel as that, else lists."""
    if hasattr(items, "iloc") or hasattr(items, "__array_interface__"):
        sliced = getattr(items, "iloc", items)
        yield from (sliced[start : start + size] for start in range(0, len(items), size))
        return
    source = iter(items)
    while batch := list(itertools.islice(source, size)):
        yield batch


def _over(function: Any) -> Callable[[Any], list[Any]]:
    def run_each(batch: Any) -> list[Any]:
        rows = (
            batch.itertuples() if hasattr(batch, "itertuples") else batch
        )  # a frame gives its columns' names
        return [run_one(item) for item in rows]

    def run_one(item: Any) -> Any:
        try:
            return function(item)
        except Retry as exc:
            raise exc.exc or AutoceleryError(
                "A task asked for a retry inside auto.map, where many items share one call. Send it with "
                "task.live.delay() or as a group of task.live.s(), or let the function try again itself."
            ) from exc

    return run_each


def _results(
    call: Any,
    batches: Iterable[list[Any]],
    window: int,
    timeout: float | None,
    follower: Follower | None,
) -> Iterator[Any]:
    under_way: deque[AsyncResult] = deque()
    try:
        for batch in batches:
            with follower.sending() if follower else contextlib.nullcontext():
                under_way.append(call.delay(batch))
            if len(under_way) >= window:
                yield from _got(under_way.popleft(), timeout)
        while under_way:
            yield from _got(under_way.popleft(), timeout)
    finally:
        for each in under_way:  # the caller went away, or an item failed: nobody wants the rest
            each.revoke()
            each.forget()
        if follower is not None:
            dropped = {each.id for each in under_way}
            follower.finish(lambda task_id: task_id not in dropped)


def _got(result: AsyncResult, timeout: float | None) -> list[Any]:
    with allow_join_result():
        got: list[Any] = result.get(timeout=timeout)
    result.forget()
    # It has nothing left to cancel when it dies; doing so in the midst of another's subscription hangs before
    # Celery 5.7: https://github.com/celery/celery/issues/10477
    result.backend = None
    return got


def _with_progress(results: Iterator[Any], total: int | None, progress: bool | None) -> Iterator[Any]:
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield from results
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(results, total=total, description="live calls", console=Console(stderr=True))


def waited(results: Iterable[AsyncResult], timeout: float | None) -> Waited:
    """Wait for ``results``; see `Autocelery.wait`."""
    deadline = None if timeout is None else time.monotonic() + timeout
    succeeded, failures, pending = 0, [], 0
    for result in results:
        try:
            with allow_join_result():
                result.get(
                    timeout=None if deadline is None else max(0.0, deadline - time.monotonic()),
                    propagate=False,
                )
        except ResultTimeout:
            pending += 1
            continue
        if result.successful():
            succeeded += 1
        else:
            failures.append(Failure(result.id, result.result, result.traceback or ""))
    return Waited(succeeded, tuple(failures), pending)
