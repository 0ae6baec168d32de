"""Many calls of a blocking client at once, each in bounded time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each_at_once(
    function: Callable[[T], R], items: Collection[T], threads: int, seconds: float | None = None
) -> list[R]:
    """Return ``function(item)`` for each of ``items``, in their order.

    The threads are the call's own. They are daemons: one whose call never
    returns is left behind, and stops neither a fork nor the interpreter's end.

    Args:
        function: called in other threads.
        items: what to call it with.
        threads: how many calls run at the same time.
        seconds: how long to wait for the next answer; ``None`` where calls end by themselves.

    Raises:
        TimeoutError: nothing was answered for ``seconds``.
        Exception: the first that ``function`` raised; calls that had not begun are not made.

    >>> each_at_once(len, ["a", "bc"], threads=2)
    [1, 2]
    """
    if seconds is None and (threads == 1 or len(items) <= 1):
        return [function(item) for item in items]
    work: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[int, R] | Exception] = queue.SimpleQueue()
    for numbered in enumerate(items):
        work.put(numbered)
    given_up = threading.Event()
    for _ in range(min(threads, len(items))):
        arguments = (function, work, answers, given_up)
        threading.Thread(target=_answer, args=arguments, name="autocelery-store", daemon=True).start()
    try:
        found = dict(_next(answers, seconds) for _ in items)
    finally:
        given_up.set()
    return [found[number] for number in range(len(items))]


def _answer(
    function: Callable[[T], R],
    work: queue.SimpleQueue[tuple[int, T]],
    answers: queue.SimpleQueue[tuple[int, R] | Exception],
    given_up: threading.Event,
) -> None:
    while not given_up.is_set():
        try:
            number, item = work.get_nowait()
        except queue.Empty:
            return
        try:
            answers.put((number, function(item)))
        except Exception as error:  # noqa: BLE001 - raised again, where the answer is waited for
            answers.put(error)


def _next(answers: queue.SimpleQueue[tuple[int, R] | Exception], seconds: float | None) -> tuple[int, R]:
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
