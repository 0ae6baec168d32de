"""A notebook's cell on a worker: run as it would run in the notebook, its value and its names brought back."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

from celery import current_app

from autocelery.errors import ValueNotPicklable
from autocelery_host.pickling import Pickler


@dataclass(frozen=True, slots=True)
class Names:
    """What a cell gets of its notebook, as it is: JSON would make lists of its tuples."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a cell.

    Args:
        packed: ``(value of the last expression, names that it assigned)``, pickled together, so
            that two names of one object still are that.
        left: names whose values cannot be pickled, each with the reason.
        output: what it printed.
    """

    packed: bytes
    left: Mapping[str, str]
    output: str


def run_cell(
    source: str, file_name: str, assigned: tuple[str, ...], definitions: Any, given: Names
) -> Outcome:
    """Run the cell and return what came of it.

    Args:
        source: plain Python.
        file_name: what tracebacks call it.
        assigned: names that it may assign.
        definitions: functions, classes and modules of the notebook that it uses, by name.
        given: other values that it uses.

    Raises:
        ValueNotPicklable: the value of its last expression cannot be pickled.
        Exception: what the cell raises.
    """
    linecache.cache[file_name] = (len(source), None, source.splitlines(keepends=True), file_name)
    namespace = {"__name__": "__main__", "display": print, **definitions, **given.values}
    body, last = _compiled(source, file_name)
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            exec(body, namespace)
            value = eval(last, namespace) if last is not None else None
    except BaseException:
        sys.stdout.write(output.getvalue())  # of a cell that fails, the worker's log has it
        raise
    names = {name: namespace[name] for name in assigned if name in namespace}
    return _packed(value, names, output.getvalue())


def _compiled(source: str, file_name: str) -> tuple[CodeType, CodeType | None]:
    tree = ast.parse(source, file_name)
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        return compile(tree, file_name, "exec"), None
    last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    return compile(tree, file_name, "exec"), compile(last, file_name, "eval")


def _packed(value: Any, names: dict[str, Any], output: str) -> Outcome:
    try:
        return Outcome(_pickled((value, names)), {}, output)
    except Exception:
        left = {name: reason for name, each in names.items() if (reason := _refusal(each))}
    if reason := _refusal(value):
        raise ValueNotPicklable(
            f"The value of the cell's last expression, of type {type(value).__name__}, cannot be brought back: "
            f"{reason}. End the cell with what can be pickled, or with None."
        )
    kept = {name: each for name, each in names.items() if name not in left}
    return Outcome(_pickled((value, kept)), left, output)


def _refusal(value: Any) -> str:
    try:
        _pickled(value)
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    return ""


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, current_app._get_current_object()).dump(value)
    return buffer.getvalue()
