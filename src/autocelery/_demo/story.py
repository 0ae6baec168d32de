"""What the demo shows, in order; each result is compared with what it has to be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from autocelery._demo.project import Edit
from autocelery._demo.staging import CALL_DEADLINE, Stage


@dataclass(frozen=True, slots=True)
class Shown:
    """One call as the user would write it, what came back, and what had to."""

    call: str
    value: object
    expected: object
    seconds: float
    from_edit: bool = False
    remark: str = ""

    @property
    def is_right(self) -> bool:
        """Whether what came back is what had to."""
        return self.value == self.expected


@dataclass(frozen=True, slots=True)
class Chapter:
    """One thing to see: a title, perhaps an edit, what was shown, and more lines to read."""

    title: str
    shown: tuple[Shown, ...]
    edit: Edit | None = None
    lines: tuple[str, ...] = ()


def story(stage: Stage) -> Iterator[Chapter]:
    """Yield the demo's chapters, each once it has happened."""
    price = stage.task("price")
    before, first = stage.pids(), stage.auto.snapshot()
    deployed = _show("price.delay(100).get()", 110, lambda: price.delay(100))
    yield Chapter("A deployed call: what the worker imported when it started", (deployed,))
    yield _edit(stage, price)
    yield _same_worker(stage, before)
    yield _next_edit(stage, price)
    yield _two_versions(stage, first)
    yield _function(stage)
    yield _failure(stage)


def _edit(stage: Stage, price: Any) -> Chapter:
    started = time.perf_counter()
    edit = stage.project.edit("VAT = 10\n", "VAT = 21\n")
    live = _show("price.live.delay(100).get()", 121, lambda: price.live.delay(100), started)
    deployed = _show(
        "price.delay(100).get()", 110, lambda: price.delay(100), remark="the deployed code is untouched"
    )
    return Chapter("An edit, then a live call: the new code, without a restart", (live, deployed), edit)


def _next_edit(stage: Stage, price: Any) -> Chapter:
    started = time.perf_counter()
    edit = stage.project.edit("VAT = 21\n", "VAT = 25\n")
    live = _show("price.live.delay(100).get()", 125, lambda: price.live.delay(100), started)
    return Chapter("The next edit: what the first one had to start is there now", (live,), edit)


def _same_worker(stage: Stage, before: tuple[int, ...]) -> Chapter:
    started = time.perf_counter()
    after = stage.pids()
    shown = Shown("pids of the worker, as before the edit", after, before, time.perf_counter() - started)
    return Chapter("The same worker: nothing was restarted or reloaded", (shown,))


def _two_versions(stage: Stage, first: Any) -> Chapter:
    meet = stage.task("meet")
    place = stage.project.folder.parent / "meeting"
    place.mkdir()
    started = time.perf_counter()
    older = meet.using(first).delay(str(place), 25)
    newer = meet.live.delay(str(place), 10)
    shown = (
        _show("meet.using(first).delay(...).get()", 10, lambda: older, started, pick=_first, from_edit=False),
        _show("meet.live.delay(...).get()", 25, lambda: newer, started, pick=_first, from_edit=False),
    )
    return Chapter("Two versions at the same moment: each waits until it has met the other", shown)


def _function(stage: Stage) -> Chapter:
    squared = _show(
        "auto.live(lambda x: x ** 2).delay(7).get()", 49, lambda: stage.auto.live(lambda x: x**2).delay(7)
    )
    return Chapter("A function that is in no module of the worker", (squared,))


def _failure(stage: Stage) -> Chapter:
    started = time.perf_counter()
    edit = stage.project.edit(
        '    return f"{item} is on its way"\n', '    raise OutOfStock(f"no {item} left")\n'
    )
    sent: list[Any] = []

    def send() -> Any:
        sent.append(stage.task("order").live.delay("tea"))
        return sent[0]

    raised = _show('order.live.delay("tea").get()', "OutOfStock: no tea left", send, started)
    trace = str(sent[0].traceback or "") if sent else ""
    shown = [raised]
    for call, part in (
        ("the traceback names the local file", str(edit.path)),
        ("and shows its line", edit.after),
    ):
        shown.append(Shown(call, part if part in trace else "missing", part, 0.0))
    return Chapter(
        "A live task that raises: its exception, with the local traceback", tuple(shown), edit, _last(trace)
    )


#: The results of all calls, kept to the end. Before Celery 5.7 a result that the garbage collector finds while another
#: one is subscribed to waits for a lock that its own thread has: https://github.com/celery/celery/issues/10477
_results: list[Any] = []


def _show(
    call: str,
    expected: object,
    send: Callable[[], Any],
    started: float | None = None,
    *,
    pick: Callable[[Any], object] = lambda value: value,
    from_edit: bool | None = None,
    remark: str = "",
) -> Shown:
    """Send a call, wait for its result and return both; an exception is a result too."""
    begin = started if started is not None else time.perf_counter()
    try:
        result = send()
        _results.append(result)
        value = pick(result.get(timeout=CALL_DEADLINE))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is shown, and compared
        value = f"{type(error).__name__}: {error}"
    counted = started is not None if from_edit is None else from_edit
    return Shown(call, value, expected, time.perf_counter() - begin, counted, remark)


def _first(pair: Any) -> object:
    return pair[0]


def _last(trace: str) -> tuple[str, ...]:
    """Return the lines of a traceback from the project's first frame on."""
    lines = trace.rstrip().splitlines()
    starts = [number for number, line in enumerate(lines) if "prices.py" in line]
    return tuple(lines[starts[0] :] if starts else lines[-6:])
