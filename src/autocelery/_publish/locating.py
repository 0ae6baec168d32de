"""Where a host can import the app from, and what it needs to be made anew where it cannot."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery

from autocelery._model import AppSource
from autocelery._publish.roots import top_of
from autocelery.errors import AppNotFound
from autocelery_host.header import BUILT_IN

#: Settings of an app in ``__main__`` that its tasks rely on and that are no connection and no secret.
_CARRIED = (
    "accept_content",
    "enable_utc",
    "result_accept_content",
    "result_expires",
    "result_extended",
    "result_serializer",
    "task_acks_late",
    "task_default_exchange",
    "task_default_queue",
    "task_default_routing_key",
    "task_ignore_result",
    "task_reject_on_worker_lost",
    "task_routes",
    "task_send_sent_event",
    "task_serializer",
    "task_soft_time_limit",
    "task_store_errors_even_if_ignored",
    "task_time_limit",
    "task_track_started",
    "timezone",
    "worker_send_task_events",
)


#: Where each app was found the last time: to look through every module costs milliseconds.
_places: WeakKeyDictionary[Celery, tuple[ModuleType, str]] = WeakKeyDictionary()


def module_of(app: Celery) -> tuple[ModuleType, str] | None:
    """Return the module, and the name in it, that ``app`` can be imported by; ``None`` for an app in ``__main__``."""
    place = _places.get(app)
    if place is None or getattr(place[0], place[1], None) is not app:
        place = _looked_up(app)
        if place is not None:
            _places[app] = place
    return place


def _looked_up(app: Celery) -> tuple[ModuleType, str] | None:
    preferred = [app.main, f"{app.main}.celery", f"{app.main}.celery_app", f"{app.main}.app"]
    names = [each for each in preferred if each in sys.modules]
    names += [each for each in list(sys.modules) if each not in names]
    for name in names:
        module = sys.modules.get(name)
        if not isinstance(module, ModuleType) or name in ("__main__", "__mp_main__", "celery._state"):
            continue
        if _is_foreign(module):
            continue
        for attribute, value in list(vars(module).items()):
            if value is app:
                return module, attribute
    return None


def source_of(app: Celery) -> AppSource:
    """Return where a host gets ``app`` from.

    Raises:
        AppNotFound: its tasks are in modules, and it is itself in none, nor in ``__main__``.
    """
    found = module_of(app)
    if found is not None:
        module, attribute = found
        return AppSource(module=module.__name__, attribute=attribute, main=app.main)
    is_in_main = any(value is app for value in list(vars(sys.modules["__main__"]).values()))
    if not is_in_main and (stranded := _tasks_in_modules(app)):
        raise AppNotFound(
            f"The Celery app {app.main!r} is bound to no name in a module, so a worker could not import it, and "
            f"{stranded[0]} and other tasks need it. Bind it where -A points, for Flask in make_celery.py: "
            'celery_app = create_app().extensions["celery"]'
        )
    settings = {name: value for name in _CARRIED if _is_plain(value := app.conf.get(name))}
    return AppSource(main=app.main, settings=settings)


def top_for(app: Celery) -> Path:
    """Return the top of the working tree that ``app`` belongs to."""
    return top_of(start_for(app))


def start_for(app: Celery) -> Path:
    """Return the folder that ``app`` is imported from, else that of the script that runs."""
    found = module_of(app)
    if found is not None and getattr(found[0], "__file__", None):
        return _import_folder(found[0])
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).absolute().parent if script else Path.cwd()


def _tasks_in_modules(app: Celery) -> list[str]:
    own = ("__main__", "__mp_main__")
    return sorted(
        name
        for name, task in app._tasks.items()
        if not name.startswith(BUILT_IN) and type(task).__module__ not in own
    )


def _import_folder(module: ModuleType) -> Path:
    """Return the folder that ``module``'s first package is imported from, never a folder inside a package."""
    file = Path(str(module.__file__))
    levels = module.__name__.count(".") + (file.stem == "__init__")
    return file.parents[levels]


def _is_foreign(module: ModuleType) -> bool:
    file = str(getattr(module, "__file__", None) or "")
    parts = Path(file).parts
    return not file or "site-packages" in parts or "dist-packages" in parts or _is_library(file)


def _is_library(file: str) -> bool:
    return file.startswith(
        (os.path.dirname(os.__file__) + os.sep, str(Path(__file__).parent.parent) + os.sep)
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return isinstance(value, str | int | float | bool)
