"""`auto.map` and `auto.wait`: many calls, their results in order, and a count of how they ended."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.app.task import Task
from celery.exceptions import Ignore, Reject, Retry
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import AsyncResult, allow_join_result

from autocelery._celery.at_once import sending_at_once
from autocelery._publish.calling import CALL_OPTIONS, LiveCall, check_options, is_in_main
from autocelery.errors import AutoceleryError, WrongCall
from autocelery_host import current_snapshot
from autocelery_host.header import exec_options

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
    **options: Any,
) -> Iterator[Any]:
    """Return an iterator over the results of ``function`` for ``items``, in order; see `Autocelery.map`."""
    if window < 1 or (chunk is not None and chunk < 1):
        raise WrongCall(f"auto.map: chunk={chunk} and window={window} have to be at least 1.")
    known = {"chunk", "window", "timeout", "progress", *CALL_OPTIONS}
    check_options("auto.map", options, known)
    total = len(items) if isinstance(items, Sized) else None
    size = chunk or max(1, -(-(total or 1) // MOST_CALLS))
    found: Iterable[list[Any]]
    by_name = isinstance(function, Task) and _is_of_a_module(function)
    if by_name and current_snapshot() is not None:  # a live task has no key to send a function by value
        call = live(function).pinned()
        batches = ([item] for batch in _batches(items, size) for item in _rows(batch))
        sent = (partial(call.apply_async, batch, **options) for batch in batches)
        found = ([each] for each in _results(sent, window, timeout, follower))
    else:
        inner = _named(function) if by_name else getattr(function, "run", function)
        call = live(_over(inner), name=f"{getattr(function, '__name__', 'function')}.map").pinned()
        options = {**_options_of(function, size), **options}
        sent = (partial(call.apply_async, (batch,), **options) for batch in _batches(items, size))
        found = _results(sent, window, timeout, follower)
    return _with_progress(itertools.chain.from_iterable(found), total, progress)


def _options_of(function: Any, size: int) -> dict[str, Any]:
    """Return where and how calls of ``function`` are sent, for calls of ``size`` items: a limit holds for each item."""
    if not isinstance(function, Task):
        return {}
    options = exec_options(function)
    for limit in {"time_limit", "soft_time_limit"}.intersection(options):
        options[limit] *= size
    return {"route_name": function.name, **options}


def _batches(items: Any, size: int) -> Iterator[Any]:
    """Yield the items, ``size`` at a time: slices of an array or a data frame, which travel as that, else lists."""
    if hasattr(items, "iloc") or hasattr(items, "__array_interface__"):
        sliced = getattr(items, "iloc", items)
        yield from (sliced[start : start + size] for start in range(0, len(items), size))
        return
    source = iter(items)
    while batch := list(itertools.islice(source, size)):
        yield batch


def _rows(batch: Any) -> Any:
    """Return the items of a batch: of a frame its rows with the columns' names."""
    return batch.itertuples() if hasattr(batch, "itertuples") else batch


def _is_of_a_module(task: Task) -> bool:
    """Whether ``task`` stands in a module, where a host finds it too."""
    found = getattr(sys.modules.get(type(task).__module__), task.__name__, None)
    return not is_in_main(task) and isinstance(found, Task) and found.name == task.name


def _named(task: Task) -> Callable[[Any], Any]:
    """Return what calls the task that the snapshot has under this name."""
    module, name = type(task).__module__, task.name

    def call_it(item: Any) -> Any:
        from celery import current_task

        importlib.import_module(module)
        task = current_task.app.tasks[name]
        is_plain = type(task).__call__ is Task.__call__  # then the call goes on being the current task
        return (task.run if is_plain else task)(item)

    return call_it


def _over(function: Any) -> Callable[[Any], list[Any]]:
    """Return what calls ``function`` for each item of a batch; it travels by value, so nothing of ours is in it."""

    def run_each(batch: Any) -> list[Any]:
        rows = batch.itertuples() if hasattr(batch, "itertuples") else batch
        return [run_one(item) for item in rows]

    def run_one(item: Any) -> Any:
        try:
            return function(item)
        except Retry as exc:
            raise exc.exc or AutoceleryError(
                "A task asked for a retry inside auto.map, where many items share one call. Send it with "
                "task.live.delay() or as a group of task.live.s(), or let the function try again itself."
            ) from exc
        except (Ignore, Reject) as exc:
            raise AutoceleryError(
                "A task was replaced, ignored or rejected inside auto.map, which needs a result of each item. Send "
                "it with task.live.delay() or as a group of task.live.s()."
            ) from exc

    return run_each


def _results(
    calls: Iterable[Callable[[], AsyncResult]],
    window: int,
    timeout: float | None,
    follower: Follower | None,
) -> Iterator[Any]:
    under_way: deque[AsyncResult] = deque()
    try:
        for send in calls:
            # A call that waits for the caller's commit would wait for the end of this loop, which waits for it.
            with sending_at_once(), follower.sending() if follower else contextlib.nullcontext():
                under_way.append(send())
            if len(under_way) >= window:
                yield _got(under_way.popleft(), timeout)
        while under_way:
            yield _got(under_way.popleft(), timeout)
    finally:
        for each in under_way:  # the caller went away, or an item failed: nobody wants the rest
            each.revoke()
            each.forget()
        if follower is not None:
            dropped = {each.id for each in under_way}
            follower.finish(lambda task_id: task_id not in dropped)


def _got(result: AsyncResult, timeout: float | None) -> Any:
    with allow_join_result():
        got = result.get(timeout=timeout)
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


def waited(results: AsyncResult | Iterable[AsyncResult], timeout: float | None) -> Waited:
    """Wait for ``results``; see `Autocelery.wait`."""
    deadline = None if timeout is None else time.monotonic() + timeout
    succeeded, failures, pending = 0, [], 0
    for result in (results,) if isinstance(results, AsyncResult) else results:
        try:
            with allow_join_result():
                result.get(
                    timeout=None if deadline is None else max(0.0, deadline - time.monotonic()),
                    propagate=False,
                )
        except ResultTimeout:
            if timeout is None:  # the result never comes
                raise
            pending += 1
            continue
        if result.successful():
            succeeded += 1
        else:
            failures.append(Failure(result.id, result.result, result.traceback or ""))
    return Waited(succeeded, tuple(failures), pending)
