"""What a notebook or a REPL sends: a cell with the names that it needs, and tasks that are defined again and again."""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import hashlib
import io
import symtable
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import Celery

from autocelery._publish.calling import is_in_main
from autocelery.errors import NameGone, WrongCall
from autocelery_host.cell_running import Names, Outcome, run_cell
from autocelery_host.pickling import Unpickler

if TYPE_CHECKING:
    from autocelery._publish.facade import Autocelery

#: What travels as code, in the snapshot; every other value of a notebook travels with the call.
_DEFINITIONS = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)
_GIVEN_BY_HOSTS = frozenset({"__name__", "__module__", "__qualname__", "display", *dir(builtins)})


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's source, and its names: those it reads from the notebook, and those it assigns."""

    source: str
    reads: tuple[str, ...]
    assigns: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """What tracebacks call it: the same as long as the cell is."""
        return f"<cell {hashlib.sha256(self.source.encode()).hexdigest()[:12]}>"


def parsed(source: str) -> Cell:
    """Return the cell with this source, which is plain Python.

    >>> parsed("total = sum(xs)")
    Cell(source='total = sum(xs)', reads=('sum', 'xs'), assigns=('total',))

    Raises:
        SyntaxError: it is no Python.
        WrongCall: it has magics, which run in the notebook only.
    """
    table = symtable.symtable(source, "<cell>", "exec")
    reads, assigns = set(_global_reads(table)), set(_global_writes(table))
    if "get_ipython" in reads:
        raise WrongCall(
            "A cell that runs on a worker is plain Python: it has no other magics and no !commands. Run those in a "
            "cell of their own."
        )
    return Cell(source, tuple(sorted(reads)), tuple(sorted(assigns)))


def run(
    auto: Autocelery, cell: Cell, notebook: dict[str, Any], timeout: float | None, **options: Any
) -> tuple[Any, Outcome]:
    """Run ``cell`` on a worker, put the names that it assigned into ``notebook``, and return its value.

    Args:
        auto: of the app whose workers run it.
        cell: what `parsed` returned.
        notebook: the notebook's names.
        timeout: seconds to wait for the result; ``None``: as long as it takes.
        **options: of ``apply_async``, such as ``queue``.

    Raises:
        NameGone: it reads a name that is nowhere; nothing was sent.
        NotShippable: a function that it uses cannot travel.
        ValueNotPicklable: a value that it uses, or its own, cannot be pickled.
        Exception: what the cell raised.
    """
    names = _needed(cell, notebook)
    code = {name: value for name, value in names.items() if isinstance(value, _DEFINITIONS)}
    given = Names({name: value for name, value in names.items() if name not in code})
    call = functools.partial(run_cell, cell.source, cell.file_name, cell.assigns, code)
    sent = auto.live(call, name=f"{auto.app.main or '__main__'}.cell").apply_async((given,), **options)
    try:
        outcome: Outcome = sent.get(timeout=timeout)
    except BaseException:
        sent.revoke(terminate=False)
        raise
    value, assigned = Unpickler(io.BytesIO(outcome.packed), auto.app).load()
    notebook.update({name: _at_home(each, notebook) for name, each in assigned.items()})
    return value, outcome


def check_names(function: types.FunctionType) -> None:
    """See that each global name in the code of ``function`` is defined, as it is typed in and not checked by anybody.

    Raises:
        NameGone: one is not.
    """
    reads, writes = _globals_of(function.__code__)
    gone = sorted(reads - writes - function.__globals__.keys() - _GIVEN_BY_HOSTS)
    if gone:
        raise NameGone(
            f"The function {function.__qualname__} refers to {gone[0]!r}, which is not defined here: its cell has not "
            "run yet, or the name was deleted. Define it, then send the call again; nothing was sent."
        )


def _globals_of(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the global names that the code reads, and those that it assigns."""
    reads, writes = set(), set()
    for each in dis.get_instructions(code):
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            reads.add(str(each.argval))
        elif each.opname in ("STORE_GLOBAL", "STORE_NAME", "DELETE_GLOBAL"):
            writes.add(str(each.argval))
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            inner_reads, inner_writes = _globals_of(inner)
            reads, writes = reads | inner_reads, writes | inner_writes
    return reads, writes


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
    found = {name: notebook[name] for name in (*cell.reads, *cell.assigns) if name in notebook}
    brings_more = any(
        isinstance(each, ast.ImportFrom) and each.names[0].name == "*"
        for each in ast.walk(ast.parse(cell.source))
    )
    for name in cell.reads:
        if not (name in found or name in cell.assigns or name in _GIVEN_BY_HOSTS or brings_more):
            raise NameGone(
                f"The cell refers to {name!r}, which is not defined in this notebook: its cell has not run yet, or "
                "the name was deleted. Define it, then run the cell again; nothing was sent."
            )
    return found


def _global_reads(table: symtable.SymbolTable) -> Iterator[str]:
    is_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (is_top or symbol.is_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _global_reads(inner)


def _global_writes(table: symtable.SymbolTable) -> Iterator[str]:
    is_top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if (symbol.is_assigned() or symbol.is_imported()) and (is_top or symbol.is_declared_global()):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _global_writes(inner)


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
