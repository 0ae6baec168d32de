"""An app and its tasks by their names, as a shell writes them."""

from __future__ import annotations

import difflib
import importlib
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery
from celery.app.utils import find_app
from celery.exceptions import QueueNotFound

from autocelery._publish import import_errors, locating
from autocelery.errors import CodeNotImportable, ConfigurationError, TaskNotInSnapshot
from autocelery_host.header import BUILT_IN

#: What somebody wrote on the command line to get an app.
_written: WeakKeyDictionary[Celery, str] = WeakKeyDictionary()


def remember_options(app: Celery, options: str) -> None:
    """Have `options_of` return what was written to get ``app``: ``-A shop --workdir elsewhere``."""
    _written[app] = options


def options_of(app: Celery) -> str:
    """Return the options by which ``celery`` and ``autocelery`` find ``app``: ``-A shop``."""
    return _written.get(app) or f"-A {name_of(app) or '<app>'}"


def name_of(app: Celery) -> str | None:
    """Return the shortest name after ``-A`` that gives ``app``; ``None`` where it is in no module."""
    found = locating.module_of(app)
    if found is None:
        return None
    module, attribute = found[0].__name__, found[1]
    for name in dict.fromkeys((module.removesuffix(".celery"), module)):
        try:
            if find_app(name) is app:
                return name
        except (Exception, SystemExit):  # noqa: BLE001 - a user's module may raise anything
            continue
    return f"{module}:{attribute}"


def task_named(app: Celery, name: str) -> Any:
    """Return the task ``name``, importing the modules in which the app looks for tasks, then its own.

    Raises:
        TaskNotInSnapshot: the code here defines no task of that name.
        CodeNotImportable: a module with tasks raises while it is imported.
    """
    import_tasks(app)
    module = name.rpartition(".")[0]
    if name not in app.tasks and module:
        _import(lambda: _module(module), module)
    if name in app.tasks:
        return app.tasks[name]
    known = [each for each in app.tasks if not each.startswith(BUILT_IN)]
    near = [each for each in known if each.endswith(f".{name}")]
    near = near or difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"It has: {', '.join(sorted(known)) or 'none'}."
    raise TaskNotInSnapshot(f"The code here defines no task {name!r}. {hint}")


def import_tasks(app: Celery) -> None:
    """Import the modules in which the app looks for tasks, as a worker does.

    Raises:
        CodeNotImportable: one of them raises while it is imported.
    """
    _import(app.loader.import_default_modules, "the modules with the app's tasks")


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


def queue_of(task: Any, args: list[Any], kwargs: dict[str, Any], queue: str | None = None) -> str | None:
    """Return the queue that a call of ``task`` waits in; ``None`` where an exchange decides that.

    Args:
        task: the task.
        args: of the call; routes may look at them.
        kwargs: likewise.
        queue: what the call itself asks for.

    Raises:
        ConfigurationError: the app's settings allow no such queue.
    """
    options = {name: value for name, value in (task._get_exec_options() or {}).items() if value is not None}
    if queue is not None:
        options["queue"] = queue
    try:
        routed = task.app.amqp.router.route(options, task.name, args, kwargs, task_type=task)
    except QueueNotFound as error:
        raise ConfigurationError(
            f"{error}, and task_create_missing_queues is off, so the call cannot be sent. Name one of: "
            f"{', '.join(sorted(task.app.amqp.queues))}"
        ) from error
    found = routed.get("queue")
    if found is None or "exchange" in routed or (found.exchange and found.exchange.type != "direct"):
        return None
    return str(found.name)


def _module(name: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise


def _import(load: Any, what: str) -> None:
    try:
        load()
    except (Exception, SystemExit) as error:
        raise CodeNotImportable(
            f"{import_errors.told(what, error)}\nNothing was sent. Mend it and call again."
        ) from error
