"""Functions that are in no module, as the caller pickled them by value.

The blob is a pickle of ``{"tasks": {name: packed}, "sources": {file name:
text}}``; each ``packed`` is what cloudpickle makes of ``(function, options)``,
apart from the others because one may mention another. In place of the app, of
its Autocelery and of tasks it holds persistent ids, so that a function which
mentions them finds the host's own.
"""

from __future__ import annotations

import io
import linecache
import sys
import types
from typing import Any

from celery import Celery

from autocelery_host.pickling import Unpickler


def register(app: Celery, data: bytes) -> None:
    """Register the tasks of the blob ``data``, whose digest the snapshot's signed manifest names."""
    shipped = Unpickler(io.BytesIO(data), app).load()
    for filename, text in shipped["sources"].items():
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    functions = {name: Unpickler(io.BytesIO(packed), app).load() for name, packed in shipped["tasks"].items()}
    for name, (function, options) in functions.items():
        app._tasks.pop(name, None)
        app.task(_named(function), name=name, lazy=False, **options)
    for function, _ in functions.values():  # now that every task they mention is there
        _show_in_main(function)


def _named(function: Any) -> Any:
    """Return ``function`` as Celery can make a task of it: with a name that is an identifier, and a module."""
    if not isinstance(function, types.FunctionType):

        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return call
    if not function.__name__.isidentifier():
        function.__name__ = "function"
    return function


def _show_in_main(function: Any) -> None:
    """Put the classes that ``function`` brought along where pickle looks for them."""
    main = sys.modules["__main__"]
    for name, value in getattr(function, "__globals__", {}).items():
        if isinstance(value, type) and value.__module__ == "__main__":
            setattr(main, name, value)
