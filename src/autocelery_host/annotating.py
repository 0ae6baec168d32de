"""Annotations of what is pickled by value: since Python 3.14 they are evaluated when somebody asks (PEP 649)."""

from __future__ import annotations

import sys
import types
from contextlib import suppress
from typing import Any

if sys.version_info >= (3, 14):
    from annotationlib import Format, get_annotations

    def _written(function: types.FunctionType) -> dict[str, Any]:
        return get_annotations(function, format=Format.STRING)

else:

    def _written(function: types.FunctionType) -> dict[str, Any]:
        return function.__annotations__


def settle(kind: type) -> bool:
    """Evaluate the annotations of ``kind``, and say whether it holds them only now.

    cloudpickle takes along those that a class holds, and not the function that
    evaluates them, as that refers to the class's own namespace.
    """
    if "__annotate_func__" not in vars(kind) or "__annotations_cache__" in vars(kind):
        return False
    with suppress(Exception):  # of a name that only a type checker sees
        return bool(kind.__annotations__)
    return False


def as_text(function: types.FunctionType) -> types.FunctionType:
    """Return a copy of ``function`` with annotations as they are written, whether their names exist or not."""
    copy = types.FunctionType(
        function.__code__,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__dict__.update(function.__dict__)
    copy.__annotations__ = _written(function)
    for name in ("__kwdefaults__", "__qualname__", "__module__", "__doc__"):
        setattr(copy, name, getattr(function, name))
    return copy
