"""Pickles of values and functions between a caller and a host, in either direction.

The app, its Autocelery and its tasks stand in them as names: who unpickles
puts its own in their place. Classes and functions of ``__main__`` travel by
value, and a class that comes home is the class that left.
"""

from __future__ import annotations

import pickle
import types
from collections import ChainMap
from typing import IO, Any, ClassVar

import cloudpickle
from celery import Celery
from celery.app.task import Task
from celery.local import Proxy

from autocelery_host import annotating, cells, current_snapshot

_MAKERS = frozenset({"_make_skeleton_class", "_make_skeleton_enum"})
_CLOUDPICKLE = "cloudpickle.cloudpickle"


class Pickler(cloudpickle.Pickler):
    """Writes what an Unpickler of another process's app reads. The same value gives the same bytes."""

    dispatch_table: ClassVar[Any] = ChainMap(cells.REDUCERS, cloudpickle.Pickler.dispatch_table)

    def __init__(self, file: IO[bytes], app: Celery) -> None:
        super().__init__(file, protocol=5)
        self._app = app

    def reducer_override(self, value: Any) -> Any:
        """Let a function go whose annotations cannot be evaluated, and a class with those that nobody read yet.

        A class that travels by value gets the same name each time.
        """
        if isinstance(value, type):
            cells.name_class(value)
        elif isinstance(value, types.FunctionType):
            self.mention_function(value)
        try:
            reduced = super().reducer_override(value)
        except Exception:
            if not isinstance(value, types.FunctionType):
                raise
            return super().reducer_override(annotating.as_text(value))
        if isinstance(value, type) and reduced is not NotImplemented and annotating.settle(value):
            return super().reducer_override(value)
        return reduced

    def persistent_id(self, value: Any) -> tuple[str, str] | None:
        """Leave the app, its Autocelery and tasks behind: who reads it has its own."""
        kind = type(value)
        if kind is type(self._app) and value is self._app:
            return ("app", "")
        if kind.__name__ == "Autocelery" and value is getattr(self._app, "autocelery", None):
            return ("autocelery", "")
        if issubclass(kind, Task) or kind.__name__ == "PromiseProxy":
            task = value._get_current_object() if kind.__name__ == "PromiseProxy" else value
            if not isinstance(task, Task):
                return None
            self.mention(task)
            return ("task", task.name)
        return None

    def mention(self, task: Task) -> None:
        """Note that what is pickled mentions ``task``."""

    def mention_function(self, function: types.FunctionType) -> None:
        """Note that what is pickled has ``function`` in it, by value or by name."""


class Unpickler(pickle.Unpickler):
    """Reads what a Pickler wrote; only after it was authenticated."""

    def __init__(self, file: IO[bytes], app: Celery) -> None:
        super().__init__(file)
        self._app = app
        self._at_home: set[type] = set()

    def persistent_load(self, pid: Any) -> Any:
        """Return this process's own app, Autocelery or task."""
        kind, name = pid
        if kind == "app":
            return self._app
        if kind == "autocelery":
            return self._app.autocelery
        return Proxy(self._app.tasks.__getitem__, (name,))  # it may be registered after this one

    def find_class(self, module: str, name: str) -> Any:
        """Return a global; a class that has come home is left as it is there."""
        found = super().find_class(module, name)
        if module == _CLOUDPICKLE and name in _MAKERS:
            return lambda *args: self._made(found, args)
        if module == _CLOUDPICKLE and name == "_class_setstate":
            return lambda kind, state: kind if kind in self._at_home else found(kind, state)
        return found

    def _made(self, make: Any, args: tuple[Any, ...]) -> Any:
        is_known = current_snapshot() is None and cells.is_known(args)
        kind = make(*args)
        if is_known:
            self._at_home.add(kind)
        return kind
