"""A project with a stock worker, and scripts that are run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests import since
from tests.shops import own_server, stop_worker
from tests.workers import Worker

_APP = """
from celery import Celery
from autocelery import Autocelery

app = Celery("shop", broker={broker!r}, backend={backend!r}, include=["shop.tasks"])
auto = Autocelery(app)
"""
_HEAD = f"""{since.SCRIPT_HEAD}
import json, sys
from shop.celery import app, auto
from shop import tasks

def got(result):
    return result.get(timeout=60)

def raised(result):
    try:
        result.get(timeout=60)
    except Exception as exc:
        return [type(exc).__name__, str(exc)]

def show(value):
    print(json.dumps(value))
"""


class Project:
    """A package ``shop`` in ``folder``. Owns a broker and its workers.

    Args:
        folder: empty.
        tasks: the source of ``shop/tasks.py``.
    """

    def __init__(self, folder: Path, tasks: str) -> None:
        self.top = folder / "project"
        self._owned = ExitStack()
        server = own_server(self._owned)
        (self.top / "shop").mkdir(parents=True)
        (self.top / "shop" / "__init__.py").touch()
        app = _APP.format(broker=server.broker_url, backend=server.result_backend)
        (self.top / "shop" / "celery.py").write_text(app)
        (self.top / "shop" / "tasks.py").write_text(textwrap.dedent(tasks))
        subprocess.run(["git", "init", "-q", str(self.top)], check=True)

    def worker(self, name: str, *options: str, **environment: str) -> Worker:
        """Start a stock worker; it is stopped with the project."""
        worker = Worker(self.top, "shop", name, *options, **environment)
        self._owned.callback(stop_worker, worker)
        return worker.start()

    def run(self, body: str, **environment: str) -> Any:
        """Run a script, as ``python script.py``, and return what it shows last.

        The script knows ``app``, ``auto``, ``tasks``, ``got(result)``, ``raised(result)`` and ``show(value)``.
        """
        script = self.top / "script.py"
        script.write_text(_HEAD + textwrap.dedent(body))
        done = self.python(str(script), **environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.strip().splitlines()[-1])

    def python(
        self, *arguments: str, text: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments in the project, and ``text`` as its standard input."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.top,
            env={**os.environ, "PYTHONPATH": str(self.top), **environment},
            input=text,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def close(self) -> None:
        """Stop everything, the last started first."""
        self._owned.close()
