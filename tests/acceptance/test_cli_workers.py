"""What is said to who sends a live call of workers that would fail it, that are busy, or that are not there."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from autocelery._publish import attendance, requiring
from autocelery.errors import WorkerWithoutAutocelery
from tests.waiting import PATIENCE, wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

APP = """
import json, os, pathlib, threading
from celery import Celery
app = Celery("asked")
app.conf.update(json.loads(os.environ["ASKED_SETTINGS"]))
if "ASKED_WITHOUT" not in os.environ:
    from autocelery import Autocelery
    auto = Autocelery(app)

@app.task
def double(x):
    return 2 * x

@app.task
def hold(place):
    pathlib.Path(place + ".begun").touch()
    while not pathlib.Path(place).exists():
        threading.Event().wait(0.05)
"""
SCRIPT = "from asked import double\nprint(double.delay(4).get())\n"
MAPPING = "from asked import auto, double\nprint(list(auto.map(double, [4])))\n"
RESULTS = """
from asked import app, double
live, plain = double.live.delay(4), app.send_task("asked.nothing")
for each in (live, app.AsyncResult(live.id), plain):
    error = each.get(propagate=False)
    print(type(error).__name__, error)
"""
MEND = "Add Autocelery(app) to the deployed app"
COMMAND = (sys.executable, "-c", "from autocelery._cli import main; main()", "-A", "asked")


class Fleet:
    """A project, its workers with and without autocelery, and who sends calls. Owns the workers and the app."""

    def __init__(self, top: Path, settings: dict[str, Any]) -> None:
        self.top = top
        self.top.mkdir()
        (self.top / "asked.py").write_text(APP)
        self.settings = settings
        self.environment = {**os.environ, "ASKED_SETTINGS": json.dumps(settings)}
        self._owned = ExitStack()

    def worker(self, name: str, *options: str, **environment: str) -> Worker:
        """Start a worker."""
        told = {"ASKED_SETTINGS": self.environment["ASKED_SETTINGS"], **environment}
        worker = Worker(self.top, "asked", name, "-c", "1", *options, **told)
        self._owned.callback(worker.stop)
        return worker.start()

    def without(self, name: str, *options: str) -> Worker:
        """Start one in whose app there is no autocelery."""
        return self.worker(name, *options, ASKED_WITHOUT="yes")

    def app(self) -> Celery:
        """Return the app as another process has it."""
        app = Celery("asked", set_as_current=False)
        app.conf.update(self.settings)
        self._owned.callback(app.close)
        return app

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``autocelery`` with these words."""
        return subprocess.run(
            [*COMMAND, *words],
            cwd=self.top,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command; what it says on standard error goes to the file ``said``."""
        with (self.top.parent / "said").open("w") as said:
            process = subprocess.Popen(
                command, cwd=self.top, env=self.environment, stdout=subprocess.PIPE, stderr=said, text=True
            )
        self._owned.callback(process.wait)
        self._owned.callback(process.kill)
        return process

    def said(self) -> str:
        """Return what the command that was started has said."""
        return (self.top.parent / "said").read_text()

    def close(self) -> None:
        """Stop all of it."""
        self._owned.close()


@pytest.fixture
def fleet(redis_url: str, redis_prefix: str, tmp_path: Path, autocelery_home: Path) -> Iterator[Fleet]:
    prefix = {"global_keyprefix": redis_prefix}
    settings = {"broker_url": redis_url, "result_backend": redis_url}
    settings |= {"broker_transport_options": prefix, "result_backend_transport_options": prefix}
    made = Fleet(tmp_path / "project", settings)
    yield made
    made.close()


def test_call_names_the_workers_of_its_queue_that_would_reject_it(fleet: Fleet) -> None:
    taking = fleet.worker("taking")
    elsewhere = fleet.without("elsewhere", "-Q", "other")
    assert fleet.run("call", "asked.double", "4").stderr == ""
    rejecting = fleet.without("rejecting")
    done = fleet.run("call", "asked.double", "4")
    assert f"Warning: {rejecting.hostname} does not have the live task" in done.stderr
    assert MEND in done.stderr
    assert taking.hostname not in done.stderr
    assert elsewhere.hostname not in done.stderr
    sent = fleet.run("call", "--queue", "other", "asked.double", "4")
    assert sent.returncode == 1
    assert f"{taking.hostname} to celery" in sent.stderr


def test_a_call_that_only_workers_without_autocelery_would_get_is_not_sent(fleet: Fleet) -> None:
    worker = fleet.without("rejecting")
    with pytest.raises(WorkerWithoutAutocelery, match=rf"{worker.hostname} would reject live calls.*restart"):
        requiring.require_worker(fleet.app(), 1.0, "celery")
    done = fleet.run("call", "asked.double", "4")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Error: {worker.hostname} would reject live calls" in done.stderr
    assert "asked.double" not in done.stderr  # nothing was sent
    assert worker.text().count("autocelery.live") == 0


def test_the_result_of_a_call_that_was_rejected_says_what_to_do(fleet: Fleet) -> None:
    fleet.without("rejecting")
    (fleet.top / "results.py").write_text(RESULTS)
    told, _ = fleet.start(sys.executable, "results.py").communicate(timeout=PATIENCE)
    live, again, plain = told.splitlines()
    assert live.startswith("WorkerWithoutAutocelery The worker that took this live call rejected it")
    assert "Autocelery(app)" in live
    assert again == live
    assert plain.startswith("NotRegistered ")
    done = fleet.run("call", "--no-check", "asked.double", "4")
    assert done.returncode == 1
    assert "Autocelery(app)" in done.stderr
    assert "NotRegistered" not in done.stderr


@pytest.mark.parametrize("kind", ["run", "map"])
def test_who_waits_without_a_worker_is_told_so_once_and_goes_on_waiting(fleet: Fleet, kind: str) -> None:
    (fleet.top / "script.py").write_text(SCRIPT if kind == "run" else MAPPING)
    command = (*COMMAND, "run", "script.py") if kind == "run" else (sys.executable, "script.py")
    process = fleet.start(*command)
    wait_for(lambda: "waits in the queue 'celery'" in fleet.said(), what="it was said")
    assert process.poll() is None
    assert "celery -A asked worker -Q celery" in fleet.said()
    fleet.worker("late")
    out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "8\n" if kind == "run" else "[8]\n")
    assert len(fleet.said().splitlines()) == 1, fleet.said()


def test_a_busy_worker_with_the_solo_pool_is_thought_of(
    fleet: Fleet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fleet.worker("alone", "-P", "solo")
    app, place = fleet.app(), tmp_path / "place"
    app.send_task("asked.hold", [str(place)])
    wait_for(place.with_name("place.begun").exists, what="it is busy")
    try:
        done = fleet.run("call", "asked.double", "4")
        assert done.returncode == 1
        assert "with the solo pool it answers nothing while it runs a task, and --no-check" in done.stderr
        with caplog.at_level(logging.WARNING):
            attendance.tell(app, "asked.hold", "celery")
        assert caplog.messages == []  # what it has taken does not wait
    finally:
        place.touch()
