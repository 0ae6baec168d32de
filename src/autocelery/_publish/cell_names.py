"""The names that typed-in code refers to, known before it is sent anywhere."""

from __future__ import annotations

import ast
import builtins
import dis
import hashlib
import inspect
import types
from collections.abc import Container, Iterator
from dataclasses import dataclass

from autocelery.errors import NameGone, WrongCall

#: Names that code has on a worker without bringing them along.
GIVEN_BY_HOSTS = frozenset({"display", *dir(builtins)})

_READING = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_WRITING = frozenset({"STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL"})
#: Evaluates annotations, if anybody asks (Python 3.14): what it reads need not exist.
_ANNOTATING = "__annotate__"


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's source and the notebook's names in it.

    Args:
        source: plain Python.
        reads: names that have to be there, unless the cell assigns them.
        hints: names that only annotations mention.
        assigns: names that it may assign.
        is_open: whether it has a ``from module import *``, and its names are not known.
    """

    source: str
    reads: tuple[str, ...]
    hints: tuple[str, ...]
    assigns: tuple[str, ...]
    is_open: bool

    @property
    def file_name(self) -> str:
        """What tracebacks call it: the same as long as the cell is."""
        return f"<cell {hashlib.sha256(self.source.encode()).hexdigest()[:12]}>"

    def check(self, notebook: Container[str]) -> None:
        """See that the notebook has each name that the cell reads.

        Raises:
            NameGone: it has one not.
        """
        for name in self.reads:
            if not (self.is_open or name in notebook or name in self.assigns or name in GIVEN_BY_HOSTS):
                raise NameGone(
                    f"The cell refers to {name!r}, which is not defined in this notebook: its cell has not run yet, "
                    "or the name was deleted. Define it, then run the cell again; nothing was sent."
                )


def parsed(source: str) -> Cell:
    """Return the cell with this source, which is plain Python.

    >>> parsed("total = sum(xs)").reads
    ('sum', 'xs')

    Raises:
        SyntaxError: it is no Python.
        WrongCall: it has magics, which run in the notebook only.
    """
    tree = ast.parse(source)
    found = _globals_of(compile(tree, "<cell>", "exec"))
    if "get_ipython" in found.reads:
        raise WrongCall(
            "A cell that runs on a worker is plain Python: it has no other magics and no !commands. Run those in a "
            "cell of their own."
        )
    stars = (each.names[0].name == "*" for each in ast.walk(tree) if isinstance(each, ast.ImportFrom))
    return Cell(source, _sorted(found.reads), _sorted(found.hints), _sorted(found.writes), any(stars))


def check_names(function: types.FunctionType) -> None:
    """See that each global name in the code of ``function``, which was typed in, is defined.

    Raises:
        NameGone: one is not.
    """
    found = _globals_of(function.__code__)
    gone = _sorted(found.reads - found.writes - function.__globals__.keys() - GIVEN_BY_HOSTS)
    if gone:
        raise NameGone(
            f"The function {function.__qualname__} refers to {gone[0]!r}, which is not defined here: its cell has not "
            "run yet, or the name was deleted. Define it, then send the call again; nothing was sent."
        )


@dataclass(frozen=True, slots=True)
class _Globals:
    reads: frozenset[str]
    hints: frozenset[str]
    writes: frozenset[str]


def _globals_of(code: types.CodeType) -> _Globals:
    """Return the global names in ``code`` and in the functions and classes that it defines."""
    own = [(each.opname, str(each.argval)) for each in dis.get_instructions(code)]
    reads = {name for operation, name in own if operation in _READING}
    writes = {name for operation, name in own if operation in _WRITING}
    if _is_class_body(code):
        in_class = {name for operation, name in own if operation == "STORE_NAME"}
        reads, writes = reads - in_class, writes - in_class
    hints: set[str] = set()
    for inner in _inner(code):
        found = _globals_of(inner)
        hints |= found.hints | (found.reads if inner.co_name == _ANNOTATING else frozenset())
        reads |= found.reads if inner.co_name != _ANNOTATING else frozenset()
        writes |= found.writes
    return _Globals(
        *(frozenset(each for each in names if not _is_python_s(each)) for names in (reads, hints, writes))
    )


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    return (each for each in code.co_consts if isinstance(each, types.CodeType))


def _is_class_body(code: types.CodeType) -> bool:
    return not code.co_flags & inspect.CO_OPTIMIZED and code.co_name != "<module>"


def _is_python_s(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _sorted(names: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(names))
