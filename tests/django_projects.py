"""Django projects of a test's own, as ``startproject`` makes them, with the preset at the end of their settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url

from tests.waiting import PATIENCE
from tests.workers import Worker

#: What the documentation tells a reader to add.
_PRESET = "\nfrom autocelery.presets.django import configure\nconfigure(globals(){options})\n"
#: Variables that would tell the preset something that a test does not mean.
_OF_THE_DESK = (
    "REDIS_URL",
    "ENVIRONMENT",
    "CELERY_BROKER_URL",
    "CELERY_RESULT_BACKEND",
    "CELERY_BEAT_DATABASE_URL",
    "DJANGO_SETTINGS_MODULE",
)


#: What makes a project of that name and those options ready, by path: the commands that make it take seconds.
_READY: dict[tuple[str, str], dict[str, bytes]] = {}
#: The Celery app of a project of that name, by path.
_APPS: dict[str, dict[str, bytes]] = {}


class Project:
    """A Django project in ``folder``, which is not there yet; ``environment`` is what its processes see besides.

    It has no migrations applied until `migrate`, and no Celery app until
    ``manage("startautocelery", "--no-input")``.
    """

    def __init__(self, folder: Path, name: str = "shop", options: str = "", **environment: str) -> None:
        self.folder, self.name, self.environment = folder, name, environment
        self._made_of = (name, options)
        folder.mkdir()
        self._run("-m", "django", "startproject", name, ".").check_returncode()
        self.append("settings.py", _PRESET.format(options=f", {options}" if options else ""))

    def append(self, path: str, text: str) -> None:
        """Add ``text`` to the end of a file of the project's package, which need not be there."""
        with (self.folder / self.name / path).open("a") as file:
            file.write(text)

    def replace(self, old: str, new: str) -> None:
        """Change the settings."""
        path = self.folder / self.name / "settings.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def use_database(self, url: str) -> None:
        """Have its data in the database at ``url``, as SQLAlchemy writes it."""
        self.append("settings.py", _settings_of(make_url(url)))

    def manage(self, *arguments: str, patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py`` to its end."""
        return self._run("manage.py", *arguments, patience=patience)

    def autocelery(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``autocelery`` to its end."""
        return self._run("-m", "autocelery", *arguments)

    def commanded(self, *arguments: str) -> str:
        """Return what ``autocelery beat`` prints."""
        done = self.autocelery("-A", self.name, "beat", *arguments)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def doctor(self, *arguments: str) -> str:
        """Return what ``autocelery doctor`` prints of its settings and code."""
        done = self._run("-m", "autocelery", "-A", self.name, "doctor", "--offline", *arguments)
        assert done.returncode in (0, 1), f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def with_app(self) -> Project:
        """Give it its Celery app: once with the command, then as that made it."""
        if self.name not in _APPS:
            self.manage("startautocelery", "--no-input").check_returncode()
            paths = [f"{self.name}/{path}.py" for path in ("__init__", "celery", "tasks")]
            _APPS[self.name] = {path: (self.folder / path).read_bytes() for path in paths}
        for path, made in _APPS[self.name].items():
            (self.folder / path).write_bytes(made)
        return self

    def ready(self) -> Project:
        """Give it its Celery app and its tables: once with the commands, then as they made them."""
        if self._made_of not in _READY:
            for arguments in (("startautocelery", "--no-input"), ("migrate", "-v0")):
                done = self.manage(*arguments)
                assert done.returncode == 0, done.stderr
            paths = ["db.sqlite3", *(f"{self.name}/{name}.py" for name in ("__init__", "celery", "tasks"))]
            _READY[self._made_of] = {path: (self.folder / path).read_bytes() for path in paths}
        for path, made in _READY[self._made_of].items():
            (self.folder / path).write_bytes(made)
        return self

    def ask(self, code: str) -> Any:
        """Run ``code`` in ``manage.py shell`` and return what it assigned to ``answer``, which JSON can carry."""
        mark = "the answer is: "
        done = self.manage("shell", "-v0", "-c", f"import json\n{code}\nprint({mark!r} + json.dumps(answer))")
        lines = [line for line in done.stdout.splitlines() if line.startswith(mark)]
        assert lines, f"{done.stdout}\n{done.stderr}"
        return json.loads(lines[-1].removeprefix(mark))

    def worker(self, *options: str) -> Worker:
        """Return a worker of the project, not started."""
        environment = dict.fromkeys(_OF_THE_DESK, "") | self.environment
        del environment["DJANGO_SETTINGS_MODULE"]
        return Worker(self.folder, self.name, f"{self.name}-{self.folder.name}", *options, **environment)

    def _run(self, *arguments: str, patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        kept = without_what_the_desk_says(os.environ)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**kept, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )


def _settings_of(url: URL) -> str:
    """Return ``DATABASES`` as a settings module says it; PyMySQL stands in for mysqlclient, which has to be built."""
    driver = url.get_driver_name()
    told = {
        "ENGINE": f"django.db.backends.{url.get_backend_name().replace('sqlite', 'sqlite3')}",
        "NAME": url.database,
    }
    told |= {"HOST": url.host or "", "USER": url.username or "", "PASSWORD": url.password or ""}
    lines = [f"DATABASES = {{'default': {dict(told, PORT=url.port or '')!r}}}"]
    if driver == "pymysql":
        lines = [
            "import pymysql",
            "pymysql.version_info = (2, 2, 7, 'final', 0)",
            "pymysql.install_as_MySQLdb()",
            *lines,
        ]
    if driver == "psycopg2":  # Django takes psycopg where it finds it
        lines = ["import sys", "sys.modules['psycopg'] = None", *lines]
    return "\n" + "\n".join(lines) + "\n"


def without_what_the_desk_says(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what would tell the preset something that a test does not mean."""
    return {name: value for name, value in environ.items() if name not in _OF_THE_DESK}
