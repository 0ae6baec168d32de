"""A project without a broker, and the ``autocelery dev`` that runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.services import free_port
from tests.waiting import wait_for

APP = """
from celery import Celery

app = Celery("proj", include=["proj.tasks"])
"""
TASKS = """
import pathlib, time
from proj.celery import app

@app.task
def price(amount):
    return amount * 2

@app.task
def waits(gate):
    while not pathlib.Path(gate).exists():
        time.sleep(0.05)
    return price.run(1)
"""
#: Sends plain calls and prints what they return; it knows the names of tasks and no code.
CALLER = """
import json, sys
from celery import Celery
app = Celery()
names = json.loads(sys.argv[1])
sent = [app.send_task(name, args) for name, args in names]
print(json.dumps([each.id if "--leave" in sys.argv else each.get(timeout=60) for each in sent]))
"""


class Dev:
    """A project without a broker, and the ``dev`` that runs it. Owns the process; its output is a file."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.app: str | None = "proj"
        self.environment = {
            **{name: told for name, told in os.environ.items() if not name.startswith("CELERY")},
            "AUTOCELERY_HOME": str(home),
        }
        self.log = home.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None
        self.write("proj/__init__.py", "")
        self.write("proj/celery.py", APP)
        self.write("proj/tasks.py", TASKS)

    def write(self, name: str, text: str) -> None:
        """Save a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def command(self, *options: str) -> list[str]:
        named = ["-A", self.app] if self.app else []
        return [sys.executable, "-m", "autocelery", *named, "dev", *options]

    def start(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start it and wait until what is there runs."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command("--port", str(self.port), *options, "--", "-c", "2"),
                cwd=self.folder,
                env={**self.environment, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_for_version()
        return self.process

    def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Start it where it is expected to end at once."""
        return subprocess.run(
            self.command(*options),
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def state_of(self, name: str) -> dict[str, Any]:
        """Return what `ctl status` says of one of its processes."""
        command = [sys.executable, "-m", "autocelery", "ctl", "status", "--json"]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, check=True, capture_output=True)
        [told] = [each for each in json.loads(done.stdout) if each["name"] == name]
        return dict(told)

    def ctl(self, *words: str) -> None:
        """Stop or start one of its processes."""
        command = [sys.executable, "-m", "autocelery", "ctl", *words]
        subprocess.run(
            command, cwd=self.folder, env=self.environment, check=True, capture_output=True, timeout=120
        )

    def text(self) -> str:
        """Return what it wrote."""
        return self.log.read_text() if self.log.exists() else ""

    def wait_for_version(self, after: int = 0) -> None:
        """Wait until the worker runs another version than those that it has told of before ``after``."""
        told = re.compile(r"Version [0-9a-f]{12} runs from now on")
        wait_for(
            lambda: told.search(self.text(), after) or not self.is_running(),
            what="the worker runs the version",
        )
        assert self.is_running(), self.text()

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def save(self, name: str, text: str) -> None:
        """Save a file and wait until the worker runs it."""
        before = len(self.text())
        self.write(name, text)
        self.wait_for_version(before)

    def call(self, *calls: tuple[str, list[Any]], leave: bool = False) -> list[Any]:
        """Send plain calls from a process that has none of the project's code; return their results."""
        told = re.search(r"^  export (.*)$", self.text(), re.MULTILINE)
        exported = dict(each.split("=", 1) for each in told[1].split()) if told else {}
        done = subprocess.run(
            [sys.executable, "-c", CALLER, json.dumps(calls), *(["--leave"] if leave else [])],
            env={**self.environment, **exported},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{done.stderr}\n{self.text()}"
        results: list[Any] = json.loads(done.stdout)
        return results

    def price(self) -> int:
        """Return the price of one, as the code says now."""
        [found] = self.call(("proj.tasks.price", [1]))
        return int(found)

    def tree(self) -> list[psutil.Process]:
        """Return all of its processes, the broker's server and the worker's agent among them."""
        assert self.process is not None
        mark = f"AUTOCELERY_HOME={self.environment['AUTOCELERY_HOME']}"
        found = []
        for each in psutil.process_iter():
            try:
                if any(f"{name}={value}" == mark for name, value in each.environ().items()):
                    found.append(each)
            except psutil.Error:
                continue
        return found

    def end(self) -> None:
        """End it for certain."""
        if self.process is not None:
            for each in self.tree():
                if each.pid != os.getpid():
                    with suppress(psutil.NoSuchProcess):
                        each.kill()
            self.process.kill()
            self.process.wait()
            print(self.text())  # pytest shows it where a test fails
