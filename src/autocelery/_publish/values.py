"""Functions that are in no module a host could import: pickled by value, tasks of ``__main__`` among them."""

from __future__ import annotations

import io
import linecache
import pickle
import types
from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery
from celery.app.task import Task

from autocelery._publish.calling import TASK_OPTIONS, is_in_main
from autocelery._publish.cell_names import check_names
from autocelery.errors import NameGone, NotShippable
from autocelery_host import cells
from autocelery_host.pickling import Pickler


def packed_tasks(app: Celery, tasks: Mapping[str, Task]) -> bytes:
    """Return the blob with ``tasks``, and with the tasks of ``__main__`` that they mention.

    Raises:
        NotShippable: something that a task refers to cannot be pickled.
    """
    waiting = dict(tasks)
    packed: dict[str, bytes] = {}
    sources: dict[str, str] = {}
    while waiting:
        name, task = waiting.popitem()
        function, options = _function_of(task), _options_of(task)
        mentioned: dict[str, Task] = {}
        packed[name] = _packed(app, name, (function, options), mentioned, sources)
        sources |= _source_of(function)
        waiting |= {each: found for each, found in mentioned.items() if each not in packed}
    return pickle.dumps({"tasks": packed, "sources": sources}, protocol=5)


class _Pickler(Pickler):
    def __init__(
        self, file: io.BytesIO, app: Celery, mentioned: dict[str, Task], sources: dict[str, str]
    ) -> None:
        super().__init__(file, app)
        self._mentioned = mentioned
        self._sources = sources

    def mention(self, task: Task) -> None:
        """Take along a task that a host could not import."""
        if is_in_main(task):
            self._mentioned[task.name] = task

    def mention_function(self, function: types.FunctionType) -> None:
        """Take along the text of a cell that a function is from, and see that all its names are there."""
        if cells.is_cell(function.__code__.co_filename):
            check_names(function)
            self._sources |= _source_of(function)


def _packed(app: Celery, name: str, value: Any, mentioned: dict[str, Task], sources: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, app, mentioned, sources).dump(value)
    except NameGone:
        raise
    except Exception as exc:
        raise NotShippable(
            f"{name} cannot be sent to the workers by value: {type(exc).__name__}: {exc}. It refers to something "
            "that exists only in this process (a connection, a lock, an open file). Make that inside the function, "
            "or move the function into a module of the tree."
        ) from exc
    return buffer.getvalue()


def _function_of(task: Task) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(type(task), "__wrapped__", None) or type(task).run
    return function


def _options_of(task: Task) -> dict[str, Any]:
    kind = type(task)
    options = {name: vars(kind)[name] for name in TASK_OPTIONS if name in vars(kind)}
    options |= {
        name: value for name in TASK_OPTIONS if (value := getattr(task, name, None)) and name not in options
    }
    options["bind"] = not isinstance(vars(kind).get("run"), staticmethod)
    return {name: value for name, value in options.items() if value is not None}


def _source_of(function: Callable[..., Any]) -> dict[str, str]:
    """Return the file's text, so that tracebacks show their lines where the file is not."""
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    lines = linecache.getlines(code.co_filename, getattr(function, "__globals__", None))
    return {cells.file_name(code.co_filename): "".join(lines)} if lines else {}
