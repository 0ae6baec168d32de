"""``autocelery check`` and ``parked``, in a project with a history, beside queues and workers that run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.shops import Shop, own_server, stop_worker
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

OLD = """
from shop.celery import app

@app.task
def same(x): ...

@app.task
def defaulted(x): ...

@app.task(name="other.name")
def needed(x): ...

@app.task(bind=True)
def shorter(self, x, y=1): ...

@app.task
def gone(): ...

@app.task(signature="park")
def parking(x): ...
"""
NEW = """
from shop.celery import app

@app.task
def same(x): ...

@app.task
def defaulted(x, y=1): ...

@app.task(name="other.name")
def needed(x, y): ...

@app.task(bind=True)
def shorter(self, x): ...

@app.task
def new(): ...

@app.task(signature="park")
def parking(x, y): ...
"""
VERDICTS = {
    "shop.tasks.same": "safe",
    "shop.tasks.defaulted": "safe if workers go first",
    "other.name": "breaks",
    "shop.tasks.shorter": "safe if producers go first",
    "shop.tasks.gone": "safe if producers go first",
    "shop.tasks.new": "safe if workers go first",
    # Old workers park what they cannot take, and so do new ones.
    "shop.tasks.parking": "safe",
}


@dataclass(frozen=True)
class Project:
    """A shop in git, whose last commit has the old tasks and whose files have the new ones."""

    shop: Shop

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``autocelery`` with these words."""
        command = [sys.executable, "-c", "from autocelery._cli import main; main()", "-A", "shop", *words]
        return subprocess.run(
            command,
            cwd=self.shop.top,
            env={**os.environ, **self.shop.environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def verdicts(self, *words: str) -> dict[str, str]:
        """Return what ``check --all --json`` says of each task."""
        return {
            each["task"]: each["verdict"]
            for each in json.loads(self.run("check", "--all", "--json", *words).stdout)
        }

    def git(self, *words: str) -> None:
        """Run git."""
        who = ["-c", "user.name=shop", "-c", "user.email=shop@localhost"]
        subprocess.run(["git", *who, *words], cwd=self.shop.top, check=True, capture_output=True)


@pytest.fixture(params=["redis", "rabbitmq"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    with ExitStack() as owned:
        server = own_server(owned)
        url = server.broker_url
        if request.param == "rabbitmq":
            request.getfixturevalue("rabbitmq_url")
            url = owned.enter_context(services.own_rabbitmq()).url
        shop = Shop(tmp_path, url, server.result_backend, AUTOCELERY_STORE=f"file://{tmp_path / 'store'}")
        owned.callback(shop.close)
        shop.write("tasks.py", OLD)
        made = Project(shop)
        made.git("init", "-q")
        made.git("add", "-A")
        made.git("commit", "-qm", "the old tasks")
        yield made


def test_each_task_has_its_verdict_against_a_revision(project: Project) -> None:
    project.shop.write("tasks.py", NEW)
    assert project.verdicts("--against", "HEAD") == VERDICTS
    told = project.run("check")
    assert told.returncode == 1
    assert "other.name  breaks  (against HEAD)  shop/tasks.py:" in told.stdout
    assert "1. Deploy workers that take both: give y a default." in told.stdout
    annotated = project.run("check", "--github").stdout.splitlines()
    assert any(each.startswith("::error file=shop/tasks.py,line=") for each in annotated)


def test_code_of_another_revision_is_never_run(project: Project) -> None:
    project.shop.write("tasks.py", "raise SystemExit('it ran')\n")
    project.git("commit", "-qam", "what must not be run")
    project.shop.write("tasks.py", OLD)
    assert set(project.verdicts().values()) == {"safe if workers go first"}, "the last commit has no task"


def test_what_is_wrong_with_a_revision_is_said(project: Project) -> None:
    project.shop.write("broken.py", "def (:\n")
    project.git("add", "-A")
    project.git("commit", "-qm", "a file that does not parse")
    project.shop.write("tasks.py", f"{OLD}# And a word more.\n")
    told = project.run("check")
    assert (told.returncode, "shop/broken.py" in told.stderr) == (0, True)
    unknown = project.run("check", "--against", "nowhere")
    assert (unknown.returncode, "has no revision nowhere" in unknown.stderr) == (1, True)


def test_messages_that_wait_are_looked_at_and_stay(project: Project) -> None:
    caller = project.shop.caller()
    for name in ("same", "needed", "needed", "shorter"):
        caller.do(f"tasks.{name}.delay(1).id")
    caller.do("tasks.shorter.delay(1, 2).id")
    caller.do("tasks.needed.live.delay(1).id")
    project.shop.write("tasks.py", NEW)
    for _ in range(2):
        told = project.run("check", "--queued", "--all", "--json")
        found = {each["task"]: each for each in json.loads(told.stdout)}
        assert told.returncode == 1
        assert {name: each["verdict"] for name, each in found.items()} == {
            "shop.tasks.same": "safe",
            "other.name": "breaks",
            "shop.tasks.shorter": "breaks",
        }
        assert found["other.name"]["why"] == [
            "2 of 2 messages: missing a required argument: 'y', sent for name/1(x)"
        ]
        assert found["shop.tasks.shorter"]["why"][0].startswith(
            "1 of 2 messages: too many positional arguments"
        )


def test_messages_that_cannot_be_read_are_not_called_safe(project: Project) -> None:
    caller = project.shop.caller()
    caller.do("tasks.same.apply_async((1,), serializer='pickle').id")
    caller.do("tasks.same.apply_async((1,), compression='zlib').id")
    caller.do("app.amqp.Producer(app.connection()).publish({'task': 'old'}, routing_key='celery') and None")
    told = {each["task"]: each for each in json.loads(project.run("check", "--queued", "--json").stdout)}
    assert {name: each["verdict"] for name, each in told.items()} == {
        "(no name)": "cannot tell",
        "shop.tasks.same": "cannot tell",
    }
    assert told["shop.tasks.same"]["why"][0].startswith("1 of 2 messages: application/x-python-serialize")
    assert project.run("check", "--queued").returncode == 0
    assert project.run("check", "--queued", "--fail-on", "unknown").returncode == 1


def test_queues_that_are_named_where_a_task_is_declared_are_looked_at(project: Project) -> None:
    project.shop.configure(
        task_create_missing_queues=True, task_routes={"shop.tasks.routed": {"queue": "hello"}}
    )
    project.shop.write(
        "tasks.py", f"{OLD}\n@app.task(queue='mail')\ndef mail(x): ...\n@app.task\ndef routed(x): ...\n"
    )
    caller = project.shop.caller()
    caller.do("tasks.mail.delay(1).id")
    caller.do("tasks.routed.delay(1).id")
    assert project.verdicts("--queued") == {"shop.tasks.mail": "safe", "shop.tasks.routed": "safe"}
    project.shop.configure(task_create_missing_queues=False)
    nothing = project.run("check", "--queued", "-Q", "celery")
    assert (nothing.returncode, nothing.stdout.startswith("There is nothing to compare")) == (0, True)


def test_workers_that_run_are_asked(project: Project) -> None:
    none = project.run("check", "--workers", "--timeout", "0.5")
    assert (none.returncode, "No worker answered" in none.stderr) == (1, True)
    project.shop.worker("running", "-c", "1")
    project.shop.write("tasks.py", NEW)
    assert project.verdicts("--workers", "--timeout", "5") == VERDICTS


def test_of_a_worker_without_autocelery_nothing_can_be_told(project: Project) -> None:
    ours = (project.shop.top / "shop" / "celery.py").read_text()
    project.shop.write("celery.py", ours.replace("auto = Autocelery(app)", ""))
    project.shop.write("tasks.py", OLD.replace('(signature="park")', ""))
    project.shop.worker("stock", "-c", "1")
    project.shop.write("celery.py", ours)
    project.shop.write("tasks.py", OLD)
    assert set(project.verdicts("--workers", "--timeout", "5").values()) == {"cannot tell"}


def test_what_is_parked_is_listed_and_released(project: Project) -> None:
    shop = project.shop
    caller = shop.caller()
    shop.write("tasks.py", NEW)
    worker = shop.worker("parking", "-c", "1")
    call: Any = caller.do("tasks.parking.delay(1).id")
    wait_for(lambda: shop.app.AsyncResult(call).state == "PARKED", what="the call is parked")
    [listed] = _parked(project)
    assert (listed["task_id"], listed["sent_for"]) == (call, "parking/1(x)")
    assert _released(project) == "0 messages queued again, 1 left parked.\n"
    shop.write("tasks.py", OLD)
    assert _released(project) == "1 message queued again, 0 left parked.\n"
    wait_for(lambda: _parked(project), what="the worker, whose code is still the new one, parks it again")
    stop_worker(worker)
    released = project.run("parked", "release", "shop.tasks.parking")
    assert released.stdout == "1 message queued again, 0 left parked.\n"
    assert "A worker whose code they do not fit parks them again" in released.stderr
    unknown = project.run("parked", "release", "shop.tasks.nothing")
    assert (unknown.returncode, "no task shop.tasks.nothing" in unknown.stderr) == (2, True)


def _parked(project: Project) -> Any:
    return json.loads(project.run("parked", "list", "--json").stdout)


def _released(project: Project) -> str:
    return project.run("parked", "release", "shop.tasks.parking").stdout


@pytest.mark.parametrize("words", [("check",), ("parked", "list")])
def test_modules_that_do_not_import_are_one_message(project: Project, words: tuple[str, ...]) -> None:
    project.shop.write("tasks.py", "import nothing_such\n" + NEW)
    done = project.run(*words)
    assert (done.returncode, "nothing_such" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
