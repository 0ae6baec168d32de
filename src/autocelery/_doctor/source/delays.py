"""How long the code says that something waits: countdowns, ETAs, delays of retries, sleeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autocelery._doctor.finding import Place
from autocelery._doctor.source.index import Source
from autocelery._doctor.source.module import Module, dotted, number
from autocelery._doctor.source.registry import RegisteredTask
from autocelery._doctor.source.sends import message_option

_UNITS = {
    "weeks": 604800.0,
    "days": 86400.0,
    "hours": 3600.0,
    "minutes": 60.0,
    "seconds": 1.0,
    "milliseconds": 0.001,
    "microseconds": 1e-6,
}
_NOW = frozenset({"now", "utcnow", "localtime"})
_ORDER = ("days", "seconds", "microseconds", "milliseconds", "minutes", "hours", "weeks")


@dataclass(frozen=True, slots=True)
class Delay:
    """So many seconds, and where they are stated."""

    seconds: float
    place: Place


def delays_in(source: Source, tasks: Sequence[RegisteredTask]) -> Iterator[Delay]:
    """Yield the delays of messages, where the text says how long they are, and the longest of tasks' retries."""
    for module, call in source.calls():
        for name, read in (("countdown", seconds_of), ("eta", _later)):
            value = message_option(call, name)
            seconds = read(module, value) if value is not None else None
            if value is not None and seconds is not None:
                yield Delay(seconds, Place("", module.shown, value.lineno))
    for task in tasks:
        yield Delay(task.longest_retry_delay, task.place)


def sleeps_in(task: RegisteredTask) -> Iterator[Delay]:
    """Yield where a task sleeps for a time that its text states."""
    if task.module is None:
        return
    for node in task.body():
        if isinstance(node, ast.Call) and node.args and task.module.meaning(node.func) == "time.sleep":
            seconds = seconds_of(task.module, node.args[0])
            if seconds is not None:
                yield Delay(seconds, task.at(node))


def seconds_of(module: Module, node: ast.expr) -> float | None:
    """Return seconds that are a number or a ``timedelta``; ``None`` where that is not in the text."""
    plain = number(node)
    if plain is not None:
        return plain
    if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "total_seconds":
        return None
    if not isinstance(node, ast.Call) or module.meaning(node.func).rpartition(".")[2] != "timedelta":
        return None
    given = [*zip(_ORDER, node.args, strict=False), *((each.arg or "", each.value) for each in node.keywords)]
    values = [(unit, number(value)) for unit, value in given]
    if any(value is None or unit not in _UNITS for unit, value in values):
        return None
    return sum(_UNITS[unit] * (value or 0.0) for unit, value in values)


def _later(module: Module, node: ast.expr) -> float | None:
    """Return the seconds of ``now + timedelta(...)``."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
        return None
    for base, added in ((node.left, node.right), (node.right, node.left)):
        if dotted(base.func if isinstance(base, ast.Call) else base).rpartition(".")[2] in _NOW:
            return seconds_of(module, added)
    return None
