"""``autocelery dev``: plain calls run what was saved last, nothing is restarted, and nothing is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.developing import APP, TASKS, Dev
from tests.django_projects import Project, without_what_the_desk_says
from tests.services import free_port
from tests.shops import is_alive
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    made = Dev(tmp_path / "project", tmp_path / "home")
    yield made
    made.end()


def test_plain_calls_run_what_was_saved_last_and_no_process_is_restarted(dev: Dev, tmp_path: Path) -> None:
    dev.start()
    assert dev.price() == 2
    worker = _worker(dev)
    gate = tmp_path / "gate"
    [running] = dev.call(("proj.tasks.waits", [str(gate)]), leave=True)
    wait_for(lambda: f"proj.tasks.waits[{running}] received" in dev.text(), what="it runs")
    dev.save("proj/tasks.py", TASKS.replace("amount * 2", "amount * 3"))
    assert dev.price() == 3
    gate.touch()
    wait_for(lambda: f"proj.tasks.waits[{running}] succeeded" in dev.text(), what="it has ended")
    assert re.search(rf"waits\[{running}\] succeeded in \S+: 2$", dev.text(), re.MULTILINE), (
        "on the old version"
    )
    dev.save("proj/tasks.py", TASKS + "\n@app.task\ndef new(a, b):\n    return a + b\n")
    assert dev.call(("proj.tasks.new", [1, 2])) == [3], "a task that the worker never imported"
    assert _worker(dev) == worker


def test_a_queue_that_the_table_gets_is_listened_to(dev: Dev) -> None:
    sends = "@app.task\ndef sends():\n    return printed.delay(7).id\n"
    dev.write("proj/celery.py", f"{APP}\nfrom autocelery import Autocelery\nAutocelery(app)\n")
    dev.start()
    dev.save("proj/tasks.py", f"{TASKS}\n@app.task\ndef printed(page):\n    return page\n\n{sends}")
    dev.save("autocelery.toml", '[queues.printing]\ntasks = ["proj.tasks.printed"]\n')
    [sent] = dev.call(("proj.tasks.sends", []))
    wait_for(lambda: f"proj.tasks.printed[{sent}] succeeded" in dev.text(), what="it is taken from its queue")
    assert "Started consuming from printing" in dev.text()


def test_a_save_that_does_not_load_is_said_and_the_last_good_version_goes_on(dev: Dev) -> None:
    dev.start()
    beat = dev.state_of("beat")
    dev.write("proj/tasks.py", TASKS.replace("amount * 2", "amount * ("))
    wait_for(
        lambda: re.search(r"saves .*proj/tasks\.py:\d+: .*The last version goes on", dev.text()),
        what="it is said",
    )
    assert dev.price() == 2
    dev.write("proj/other.py", "also = (\n")
    dev.write("proj/tasks.py", "import nothing_such\n" + TASKS)
    wait_for(lambda: "other.py:1" in dev.text(), what="the other is said too")
    assert "does not load" not in dev.text(), "the tree as a whole is no version while one file is broken"
    (dev.folder / "proj" / "other.py").unlink()
    wait_for(lambda: "No module named 'nothing_such'" in dev.text(), what="what does not import is said")
    assert dev.price() == 2
    assert dev.state_of("beat")["pid"] == beat["pid"], "what does not load is nothing for beat either"
    dev.save("proj/tasks.py", TASKS.replace("amount * 2", "amount * 5"))
    assert dev.price() == 5
    wait_for(lambda: dev.state_of("beat")["pid"] != beat["pid"], what="beat reads its schedule again")


def test_what_programs_write_is_no_version(dev: Dev) -> None:
    dev.start()
    for name in ("db.sqlite3", "db.sqlite3-journal", "proj/debug.log"):
        dev.write(name, "written by a task")
    dev.save("proj/tasks.py", TASKS.replace("amount * 2", "amount * 3"))
    versions = re.findall(r"saves .*version \w+( after .*)?$", dev.text(), re.MULTILINE)
    assert versions == ["", " after proj/tasks.py"]


def test_a_schedule_that_is_saved_is_followed(dev: Dev) -> None:
    dev.start()
    entry = '{"often": {"task": "proj.tasks.price", "schedule": 1, "args": [21]}}'
    dev.save("proj/celery.py", f"{APP}\napp.conf.beat_schedule = {entry}\n")
    wait_for(
        lambda: re.search(r"proj\.tasks\.price\[\S+\] succeeded in \S+: 42", dev.text()), what="it is sent"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(dev: Dev, number: signal.Signals) -> None:
    process = dev.start()
    assert dev.price() == 2
    if number == signal.SIGKILL:  # a task that runs keeps nothing alive
        dev.call(("proj.tasks.waits", [str(dev.folder / "never")]), leave=True)
        wait_for(lambda: re.search(r"proj\.tasks\.waits\[\S+\] received", dev.text()), what="it runs")
    tree = [each for each in dev.tree() if each.pid != os.getpid()]
    assert len(tree) >= 7, [each.cmdline() for each in tree]
    told = re.search(r"CELERY_BROKER_URL=redis\+socket://(\S+)/s", dev.text())
    assert told
    [newest] = {word for each in tree for word in each.cmdline() if word.endswith("newest.json")}
    process.send_signal(number)
    code = process.wait(60)
    assert code == (-9 if number == signal.SIGKILL else 0)
    wait_for(lambda: not [each for each in tree if is_alive(each.pid)], what="all of it has ended")
    wait_for(lambda: not Path(told[1]).exists(), what="the broker's folder is removed")
    wait_for(lambda: not Path(newest).parent.exists(), what="so is that of the versions")


def test_the_dashboard_shows_what_happens(dev: Dev) -> None:
    dev.start()
    wait_for(lambda: any(each["tells"] for each in _state(dev)["workers"]), what="the worker tells of itself")
    dev.call(("proj.tasks.price", [21]))
    wait_for(
        lambda: [each for each in _state(dev)["tasks"] if each["state"] == "SUCCESS"], what="it is shown"
    )
    [task] = _state(dev)["tasks"]
    assert (task["name"], task["args"], task["result"]) == ("proj.tasks.price", "[21]", "42")
    assert task["seconds"] < 1
    wait_for(
        lambda: (
            [(each["name"], each["length"], len(each["workers"])) for each in _state(dev)["queues"]]
            == [("celery", 0, 1)]
        ),
        what="so is who listens to the queue",
    )


def test_a_second_one_in_the_same_project_is_refused(dev: Dev) -> None:
    dev.start()
    done = dev.run("--port", str(free_port()))
    assert done.returncode == 1
    assert "is up already, with pid" in done.stderr
    assert dev.price() == 2


def test_a_port_that_is_taken_is_said_before_anything_starts(dev: Dev) -> None:
    with _listening(dev.port):
        done = dev.run("--port", str(dev.port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{dev.port}" in done.stderr
    assert "own runs" not in done.stderr


def test_a_broker_that_does_not_answer_is_said_before_anything_starts(dev: Dev) -> None:
    done = dev.run("--port", "0", CELERY_BROKER_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "--own-broker" in done.stderr
    assert "Traceback" not in done.stderr


def test_code_that_does_not_import_at_the_start_is_said(dev: Dev) -> None:
    dev.write("proj/celery.py", "import nothing_such\n")
    done = dev.run("--port", "0")
    assert done.returncode == 1
    assert "nothing_such" in done.stderr
    assert "Traceback" not in done.stderr


#: What a module of the project keeps for all others, as a registry of metrics does: a second time is an error.
ONCE = """
import proj.registry
if proj.registry.NAMES:
    raise RuntimeError("registered twice")
proj.registry.NAMES.append("price")
"""
FASTAPI = """
from autocelery.presets.fastapi import celery_app
app = celery_app("proj", include=["proj.tasks"])
"""
FLASK = """
from flask import Flask
from autocelery.presets.flask import init_app
app = init_app(Flask("proj"))
app.conf.include = ["proj.tasks"]
"""


@pytest.mark.parametrize(("preset", "named"), [(FASTAPI, "proj.celery"), (FLASK, None)])
@pytest.mark.parametrize("debug", ["", "1"])
def test_a_project_that_does_not_come_up_without_a_broker_gets_one(
    dev: Dev, preset: str, named: str | None, debug: str
) -> None:
    dev.write("proj/registry.py", "NAMES = []\n")
    dev.write("proj/celery.py", ONCE + preset)
    dev.app = named
    dev.start(REDIS_URL="", DEBUG=debug, FLASK_DEBUG=debug)
    assert dev.price() == 2
    assert "No broker" not in dev.text()


def test_a_broker_of_its_own_is_there_before_the_project_is_imported(dev: Dev) -> None:
    dev.write("proj/celery.py", f"import os\nos.environ['CELERY_BROKER_URL']\n{APP}")
    dev.start("--own-broker")
    assert dev.price() == 2


def test_results_in_a_database_of_the_project_stay_there_and_beat_cleans_them_up(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", options='beat="database"').ready()
    dev = Dev(project.folder, tmp_path / "home")
    dev.app, dev.environment = project.name, without_what_the_desk_says(dev.environment)
    try:
        dev.start()
        [sent] = dev.call(("shop.tasks.add", [1, 2]), leave=True)
        wait_for(lambda: f"shop.tasks.add[{sent}] succeeded" in dev.text(), what="it has run")
        wait_for(lambda: "this instance sends now" in dev.text(), what="beat has read the settings")
    finally:
        dev.end()
    asked = "from django_celery_results.models import TaskResult\nanswer = list(TaskResult.objects.values_list({}))"
    assert project.ask(asked.format("'task_id', 'result'")) == [[sent, "3"]]
    assert "celery.backend_cleanup" in project.commanded("list")


def test_the_projects_own_broker_is_used(dev: Dev, redis_url: str, redis_prefix: str) -> None:
    dev.write(
        "proj/celery.py",
        APP
        + textwrap.dedent(f"""
            app.conf.update(
                broker_url={redis_url!r}, result_backend={redis_url!r}, task_default_queue={redis_prefix + "dev"!r},
                broker_transport_options={{"global_keyprefix": {redis_prefix!r}}},
                result_backend_transport_options={{"global_keyprefix": {redis_prefix!r}}},
                autocelery_store={f"{redis_url}?autocelery_prefix={redis_prefix}blobs:"!r},
            )
        """),
    )
    dev.start()
    assert "A broker of its own" not in dev.text()
    dev.save("proj/tasks.py", TASKS.replace("amount * 2", "amount * 7"))


def _worker(dev: Dev) -> list[int]:
    """Return the pids of the worker's main process and of its pool."""
    workers = [each for each in dev.tree() if "autocelery._dev.worker" in " ".join(each.cmdline())]
    return sorted(each.pid for each in workers)


def _state(dev: Dev) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{dev.port}/api/state", timeout=10) as answer:
        state: dict[str, Any] = json.load(answer)
        return state


def _listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))
