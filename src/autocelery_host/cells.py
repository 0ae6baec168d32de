"""Code of notebook cells and of the REPL, under names that stay the same as long as the code does.

A cell gets a new file name each time it runs, and cloudpickle a new random
name for each class. Both would be in the pickle of a function, and in the id
of its snapshot, though nothing has changed.
"""

from __future__ import annotations

import hashlib
import io
import linecache
import re
import types
import weakref
from collections import ChainMap
from typing import Any, ClassVar

import cloudpickle
from celery import Celery
from celery.app.task import Task
from cloudpickle import cloudpickle as internals

from autocelery_host import annotating

#: Files that are made up by IPython, its kernel, and Python's own REPL; and one that it gives to all it reads.
_CELL = re.compile(r"<(ipython|python)-input-.*>|.*[/\\]ipykernel_\d+[/\\]\d+\.py")
_WITHOUT_TEXT = frozenset({"<stdin>", "<console>"})
_NEITHER_STATE_NOR_CODE = frozenset(
    {"__dict__", "__weakref__", "_abc_impl", "__annotate_func__", "__firstlineno__"}
)
#: Cloudpickle's own tables of the classes that it pickled by value; one that has none names them at random.
_by_class: Any = getattr(internals, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", weakref.WeakKeyDictionary())
_by_name: Any = getattr(internals, "_DYNAMIC_CLASS_TRACKER_BY_ID", weakref.WeakValueDictionary())
_in_the_making: set[type] = set()


def is_cell(given: str) -> bool:
    """Whether code of the file ``given`` was typed in, and not read from a file."""
    return given in _WITHOUT_TEXT or _CELL.fullmatch(given) is not None


def file_name(given: str) -> str:
    """Return the name under which the code of the file ``given`` travels.

    >>> file_name("/home/me/proj/tasks.py")
    '/home/me/proj/tasks.py'
    """
    if _CELL.fullmatch(given) is None:
        return given
    text = "".join(linecache.getlines(given))
    return f"<cell {hashlib.sha256(text.encode()).hexdigest()[:12]}>" if text else "<cell>"


def _reduced_code(code: types.CodeType) -> Any:
    plain = cloudpickle.Pickler.dispatch_table[types.CodeType]
    return plain(code.replace(co_filename=file_name(code.co_filename)))


#: How a pickler writes what stands in cells; goes before cloudpickle's own table.
REDUCERS: dict[type, Any] = {types.CodeType: _reduced_code}


def name_class(kind: type) -> None:
    """Have cloudpickle write a class of ``__main__`` under a name that is made from what it consists of."""
    if kind.__module__ != "__main__" or kind in _by_class or kind in _in_the_making:
        return
    annotating.settle(kind)
    _in_the_making.add(kind)
    try:
        name = _fingerprint(kind)
    except Exception:  # what keeps it from being pickled is told when it is
        return
    finally:
        _in_the_making.discard(kind)
    _by_class[kind] = name
    _by_name[name] = kind


def is_known(arguments: tuple[Any, ...]) -> bool:
    """Whether one of cloudpickle's ``arguments`` for making a class names one that is in this process."""
    return any(isinstance(each, str) and each in _by_name for each in arguments)


class _Fingerprinter(cloudpickle.Pickler):
    dispatch_table: ClassVar[Any] = ChainMap(REDUCERS, cloudpickle.Pickler.dispatch_table)

    def persistent_id(self, value: Any) -> tuple[str, str] | None:
        """Break the circle in which a class refers to itself, and leave the app behind."""
        if isinstance(value, type) and value in _in_the_making:
            return ("class", value.__qualname__)
        if isinstance(value, Celery | Task) or type(value).__name__ in ("Autocelery", "PromiseProxy"):
            return ("app", type(value).__name__)
        return None

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type):
            name_class(value)
        return super().reducer_override(value)


def _fingerprint(kind: type) -> str:
    buffer = io.BytesIO()
    state = {
        name: value
        for name, value in vars(kind).items()
        if name not in _NEITHER_STATE_NOR_CODE and not isinstance(value, types.MemberDescriptorType)
    }
    _Fingerprinter(buffer, protocol=5).dump((kind.__qualname__, kind.__bases__, state))
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:32]
