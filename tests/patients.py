"""Small projects for the doctor: written to a folder, imported, looked at, and forgotten again."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery, _state

from autocelery._doctor import looking
from autocelery._doctor.finding import Finding
from autocelery._doctor.looking import Report

_CELERY = 'from celery import Celery\n\napp = Celery("proj", include=["proj.tasks"])\n'
#: What no rule has anything to say of.
HEALTHY = {
    "broker_url": "redis://localhost:6379/0",
    "task_time_limit": 300,
    "broker_connection_retry_on_startup": True,
}


class Patient:
    """A project ``proj`` below ``folder``, with an app in ``proj/celery.py`` and tasks in ``proj/tasks.py``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._app: Celery | None = None
        self.write("proj/__init__.py", "")
        self.write("proj/celery.py", _CELERY)
        self.write("proj/tasks.py", "")
        # Which bugs are known of the versions that the tests run with is nothing of the project's.
        self.write("pyproject.toml", '[tool.autocelery.doctor]\nignore = ["AC110"]\n')

    def write(self, name: str, text: str) -> Path:
        """Write one of its files."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def tasks(self, text: str) -> None:
        """Write its tasks, below what they need."""
        self.write(
            "proj/tasks.py",
            f"from celery import chain, chord, group, shared_task\nfrom proj.celery import app\n{text}",
        )

    def settings(self, **values: Any) -> None:
        """Write its settings, as a project that sets them on its app."""
        lines = [f"app.conf.{name} = {value!r}\n" for name, value in {**HEALTHY, **values}.items()]
        self.write("proj/celery.py", _CELERY + "".join(lines))

    def look(self, **options: Any) -> Report:
        """Look at it from its own folder, as a user would."""
        with self.imported() as app:
            return looking.look(app, **{"offline": True, **options})

    def findings(self, code: str, **options: Any) -> list[Finding]:
        """Return what one rule finds."""
        return [each for each in self.look(**options).findings if each.code == code]

    @contextmanager
    def imported(self) -> Iterator[Celery]:
        """Lend its app, imported anew, or the one that is lent already."""
        if self._app is not None:
            yield self._app
            return
        before, here = set(sys.modules), os.getcwd()
        finalizers = set(_state._on_app_finalizers)
        sys.path.insert(0, str(self.folder))
        os.chdir(self.folder)
        importlib.invalidate_caches()
        try:
            self._app = importlib.import_module("proj.celery").app
            yield self._app
        finally:
            self._app = None
            os.chdir(here)
            sys.path.remove(str(self.folder))
            _state._on_app_finalizers.intersection_update(
                finalizers
            )  # else every app to come has these tasks
            for name in [
                each for each in sys.modules if each not in before and each.partition(".")[0] == "proj"
            ]:
                del sys.modules[name]
