"""A task of an app by its name, as a shell writes it."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from celery import Celery

from autocelery.errors import CodeNotImportable, ConfigurationError, TaskNotInSnapshot


def task_named(app: Celery, name: str) -> Any:
    """Return the task ``name``, importing the modules in which the app looks for tasks, then its own.

    Raises:
        TaskNotInSnapshot: the code here defines no task of that name.
        CodeNotImportable: a module with tasks raises while it is imported.
    """
    _import(app.loader.import_default_modules, "the modules with the app's tasks")
    module = name.rpartition(".")[0]
    if name not in app.tasks and module:
        _import(lambda: _module(module), module)
    if name in app.tasks:
        return app.tasks[name]
    known = [each for each in app.tasks if not each.startswith(("celery.", "autocelery."))]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It has: {', '.join(sorted(known)) or 'none'}."
    raise TaskNotInSnapshot(f"The code here defines no task {name!r}. {hint}")


def require_backend(app: Celery) -> None:
    """Return if results of ``app`` can be waited for.

    Raises:
        ConfigurationError: the app has no result backend.
    """
    if type(app.backend).__name__ == "DisabledBackend":
        raise ConfigurationError(
            "This app has no result backend, so a result cannot be waited for. Set result_backend in the app's "
            "settings, or use --detach."
        )


def _module(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise


def _import(load: Any, what: str) -> None:
    try:
        load()
    except Exception as error:
        raise CodeNotImportable(
            f"Importing {what} failed: {type(error).__name__}: {error}. Nothing was sent. Mend it, and see the "
            "whole traceback with: autocelery --debug ..."
        ) from error
