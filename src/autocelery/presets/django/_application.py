"""`celery_app`: the Celery app of a Django project."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals

from autocelery.errors import ConfigurationError


def celery_app(name: str, settings: str | None = None, **options: Any) -> Celery:
    """Return the Celery app of a Django project: settings of ``CELERY_``, tasks of every app, live calls.

    Nothing of Django's is read before the app is used.

    Args:
        name: the project's package.
        settings: the settings module, unless ``DJANGO_SETTINGS_MODULE`` says; by default ``<name>.settings``.
        options: what `celery.Celery` takes.

    Example:
        >>> app = celery_app("proj")
        >>> app.main
        'proj'
    """
    from autocelery._publish.facade import Autocelery

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings or f"{name}.settings")
    options.setdefault("task_cls", "autocelery.presets.django._tasks:ProjectTask")
    app = Celery(name, **options)
    app.config_from_object("autocelery.presets.django._settling:settings")
    app.autodiscover_tasks()
    app.autodiscover_tasks(lambda: [_package()])
    app.on_after_configure.connect(_make_eager, weak=False)
    signals.celeryd_init.connect(_check_worker, weak=False, dispatch_uid="autocelery-django-worker")
    Autocelery(app)
    _watch_results(app)
    return app


def _watch_results(app: Celery) -> None:
    """Have a result not be waited for in the transaction whose commit sends its call."""
    backend_of = app._get_backend  # noqa: SLF001 - each thread's backend is made there, and nowhere else

    def watched() -> Any:
        from autocelery.presets.django._results import with_project_results

        return with_project_results(backend_of())

    app._get_backend = watched  # noqa: SLF001


def _package() -> str:
    """Return the project's own package, which is seldom an installed app."""
    return os.environ["DJANGO_SETTINGS_MODULE"].partition(".")[0]


def _make_eager(sender: Celery, **_: Any) -> None:
    from autocelery._eager import make_eager
    from autocelery.presets.django import _settling

    if _settling.runs_eagerly():
        make_eager(sender)


def _check_worker(**_: Any) -> None:
    """End a worker at its start that could run nothing, with a reason in one line.

    Celery logs what a receiver raises and goes on; this it lets pass.
    """
    from autocelery.presets.django import _workers

    try:
        _workers.check()
    except ConfigurationError as error:
        raise SystemExit(str(error)) from error
