"""What a notebook or a REPL sends: a cell with the names that it needs, and tasks that are defined again and again."""

from __future__ import annotations

import functools
import io
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.exceptions import TimeoutError as ResultTimeout

from autocelery._publish import naming
from autocelery._publish.calling import is_in_main
from autocelery._publish.cell_names import Cell
from autocelery_host.cell_running import Names, Outcome, run_cell
from autocelery_host.pickling import Unpickler

if TYPE_CHECKING:
    from autocelery._publish.facade import Autocelery

#: What travels as code, in the snapshot; every other value of a notebook travels with the call.
_DEFINITIONS = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)


def run(
    auto: Autocelery, cell: Cell, notebook: dict[str, Any], timeout: float | None, **options: Any
) -> tuple[Any, Outcome]:
    """Run ``cell`` on a worker, put the names that it assigned into ``notebook``, and return its value.

    Args:
        auto: of the app whose workers run it.
        cell: what `autocelery._publish.cell_names.parsed` returned.
        notebook: the notebook's names.
        timeout: seconds to wait for the result; ``None``: as long as it takes.
        **options: of ``apply_async``, such as ``queue``.

    Raises:
        NameGone: it reads a name that is nowhere; nothing was sent.
        ConfigurationError: the app has no result backend.
        NotShippable: a function that it uses cannot travel.
        ValueNotPicklable: a value that it uses, or its own, cannot be pickled.
        Exception: what the cell raised.
    """
    naming.require_backend(auto.app)
    names = _needed(cell, notebook)
    code = {name: value for name, value in names.items() if isinstance(value, _DEFINITIONS)}
    given = Names({name: value for name, value in names.items() if name not in code})
    call = functools.partial(run_cell, cell.source, cell.file_name, cell.assigns, code)
    sent = auto.live(call, name=f"{auto.app.main or '__main__'}.cell").apply_async((given,), **options)
    try:
        outcome: Outcome = sent.get(timeout=timeout)
    except (KeyboardInterrupt, ResultTimeout):
        sent.revoke()  # one that has begun goes on: its worker may have others to run
        raise
    finally:
        sent.forget()
        sent.backend = (
            None  # it hangs before Celery 5.7 to die in the midst of another's subscription, see mapping.py
        )
    value, assigned = Unpickler(io.BytesIO(outcome.packed), auto.app).load()
    notebook.update({name: _at_home(each, notebook) for name, each in assigned.items()})
    return value, outcome


def let_tasks_be_redefined(app: Celery) -> None:
    """Have a second ``@app.task`` of one name in ``__main__`` be the next version; Celery keeps the first."""
    original = app._task_from_fun
    if getattr(original, "replaces", False):
        return

    def task_from(function: Any, name: str | None = None, *args: Any, **options: Any) -> Any:
        known = name or app.gen_task_name(function.__name__, function.__module__)
        if function.__module__ == "__main__" and known in app._tasks and is_in_main(app._tasks[known]):
            del app._tasks[known]
        return original(function, name, *args, **options)

    task_from.replaces = True  # type: ignore[attr-defined]
    app._task_from_fun = task_from


def _needed(cell: Cell, notebook: Mapping[str, Any]) -> dict[str, Any]:
    cell.check(notebook)
    return {name: notebook[name] for name in (*cell.reads, *cell.hints, *cell.assigns) if name in notebook}


def _at_home(value: Any, notebook: dict[str, Any]) -> Any:
    """Return a function that a cell defined as the notebook would have it: with the notebook's names."""
    if type(value) is not types.FunctionType or value.__module__ != "__main__":
        return value
    home = types.FunctionType(
        value.__code__,
        notebook,
        value.__name__,
        value.__defaults__,
        value.__closure__,
    )
    home.__dict__.update(value.__dict__)
    for name in ("__kwdefaults__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        setattr(home, name, getattr(value, name))
    return home
