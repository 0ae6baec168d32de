"""``autocelery up``: what it starts is kept running, and stopped without losing a task."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.services import free_port
from tests.shops import Shop, is_alive, own_shop
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

SLOW_TO_END = (
    "import signal, time; signal.signal(15, lambda *_: exit(time.sleep(2))); print('begins'); time.sleep(600)"
)
SLEEPER = f"{sys.executable} -c 'import time; time.sleep(600)'"


class Up:
    """A project with a table, and the ``up`` that runs it. Owns the process; its output is a file."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self._environment = folder, {**os.environ, **environment}
        self.log = folder / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def table(self, text: str) -> None:
        """Write the table."""
        (self.folder / "autocelery.toml").write_text(textwrap.dedent(text))

    def start(self, *below: str) -> subprocess.Popen[bytes]:
        """Start it, and return it at once; ``below`` is what runs it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*below, *self._command("up")], cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        return self.process

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside it."""
        return subprocess.run(
            self._command(*words),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin to run a command beside it."""
        return subprocess.Popen(
            self._command(*words), cwd=self.folder, env=self._environment, stderr=subprocess.DEVNULL
        )

    def states(self) -> dict[str, Any]:
        """Return what `ctl status` says of each process."""
        told = self.run("ctl", "status", "--json")
        return {each["name"]: each for each in json.loads(told.stdout)} if told.returncode == 0 else {}

    def wait_until_ready(self) -> dict[str, Any]:
        """Wait until everything is; return what `ctl status` says."""
        wait_for(lambda: self.run("status", "--ready").returncode == 0, what="up is ready")
        return self.states()

    def text(self) -> str:
        """Return what it wrote."""
        return self.log.read_text() if self.log.exists() else ""

    def end(self) -> None:
        """End it for certain, and all that it started."""
        if self.process is None:
            return
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
        self.process.kill()
        self.process.wait()

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", "from autocelery._cli import main; main()", *words]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    folder = tmp_path / "project"
    folder.mkdir()
    made = Up(folder, {"AUTOCELERY_HOME": str(tmp_path / "home")})
    yield made
    made.end()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as owned:
        yield own_shop(owned, tmp_path / "shop")


def test_a_stopped_worker_holds_its_queue_and_loses_nothing(shop: Shop, up: Up) -> None:
    up.folder = shop.top
    up.log = shop.top.parent / "up.log"
    up.table("""
        [queues]
        hello = { tasks = ["shop.tasks.early"], workers = 2 }
        [up]
        app = "shop"
    """)
    up.start()
    up.wait_until_ready()
    sent = [shop.app.send_task("shop.tasks.early", (number, 1.0), queue="hello").id for number in range(6)]
    wait_for(lambda: shop.app.AsyncResult(sent[0]).ready(), what="the first is done")
    assert up.run("ctl", "stop", "worker_hello").returncode == 0
    assert up.states()["worker_hello"]["state"] == "stopped"
    held = shop.app.send_task("shop.tasks.early", (9, 0.0), queue="hello").id
    elsewhere = shop.app.send_task("shop.tasks.add", (1, 2)).id
    assert shop.result(elsewhere) == 3, "the other worker goes on"
    assert not shop.app.AsyncResult(held).ready()
    told = up.run("status")
    assert (
        "shop.tasks.early would wait in the queue 'hello', to which no running worker listens" in told.stderr
    )
    assert up.run("ctl", "start", "worker_hello").returncode == 0
    assert [shop.result(each) for each in sent] == [number**2 for number in range(6)]
    assert shop.result(held) == 81


def test_told_to_end_a_worker_ends_what_it_does(shop: Shop, up: Up) -> None:
    shop.configure(task_track_started=True)
    up.folder = shop.top
    up.log = shop.top.parent / "up.log"
    up.table('[up]\napp = "shop"\n')
    process = up.start()
    up.wait_until_ready()
    running = shop.app.send_task("shop.tasks.early", (7, 2.0)).id
    wait_for(lambda: shop.app.AsyncResult(running).state == "STARTED", what="it has begun")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert shop.result(running) == 49
    assert up.run("ctl", "status").returncode == 1


def test_told_to_end_a_worker_gives_back_what_it_has_not_begun(shop: Shop, up: Up) -> None:
    up.folder = shop.top
    up.log = shop.top.parent / "up.log"
    up.table('[up]\napp = "shop"\n[up.workers.only]\nconcurrency = 1\n')
    process = up.start()
    up.wait_until_ready()
    sent = [shop.app.send_task("shop.tasks.early", (number, 1.0)).id for number in range(4)]
    wait_for(lambda: up.text().count(" received") == 4, what="all are with the worker")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not shop.app.AsyncResult(sent[-1]).ready(), "the last had not begun"
    up.start()
    assert [shop.result(each) for each in sent] == [number**2 for number in range(4)]


def test_a_worker_is_ready_whatever_its_project_has_it_log(shop: Shop, up: Up) -> None:
    up.folder = shop.top
    up.log = shop.top.parent / "up.log"
    shop.write(
        "quiet.py",
        """
        import logging
        from celery import signals
        signals.setup_logging.connect(lambda **_: logging.basicConfig(level=logging.ERROR), weak=False)
    """,
    )
    shop.write("__init__.py", "import shop.quiet")
    up.table('[up]\napp = "shop"\n')
    up.start()
    assert up.wait_until_ready()["worker_default"]["state"] == "ready"
    assert "ready." not in up.text()
    assert shop.result(shop.app.send_task("shop.tasks.add", (1, 2)).id) == 3


def test_what_is_killed_is_started_again(up: Up) -> None:
    up.table(f'[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    up.start()
    first = up.wait_until_ready()["sleeper"]["pid"]
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: up.states()["sleeper"]["starts"] == 2, what="it was started again")
    told = up.states()["sleeper"]
    assert told["pid"] != first
    assert "SIGKILL" in told["said"]


def test_what_cannot_be_started_is_tried_again(up: Up) -> None:
    up.table(f'[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    up.log = up.folder.parent / "up.log"
    up.start()
    first = up.wait_until_ready()["sleeper"]["pid"]
    aside = up.folder.rename(up.folder.with_name("aside"))  # as a deployment does that replaces it
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: "cannot be started" in up.text(), what="it was tried")
    aside.rename(up.folder)
    assert up.wait_until_ready()["sleeper"]["pid"] != first


def test_who_is_told_to_start_it_while_it_is_stopped_waits_until_it_is(up: Up) -> None:
    up.table(f'[up.processes]\nslow = {{ command = ["{sys.executable}", "-c", "{SLOW_TO_END}"] }}\n')
    up.start()
    up.wait_until_ready()
    stopping = up.begin("ctl", "stop", "slow")
    wait_for(lambda: up.states()["slow"]["state"] == "stopping", what="it is being stopped")
    assert up.run("ctl", "start", "slow").returncode == 0
    assert stopping.wait(60) == 0
    assert (up.states()["slow"]["state"], up.states()["slow"]["starts"]) == ("starting", 2)


def test_while_all_of_it_ends_nothing_is_started(up: Up) -> None:
    up.table(f'[up.processes]\nslow = {{ command = ["{sys.executable}", "-c", "{SLOW_TO_END}"] }}\n')
    process = up.start()
    up.wait_until_ready()
    starting = up.begin("ctl", "restart", "slow")
    wait_for(lambda: up.states()["slow"]["state"] == "stopping", what="it is being stopped")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert starting.wait(60) == 1
    assert up.text().count("slow | begins") == 1


def test_with_nohup_it_outlives_its_terminal(up: Up) -> None:
    up.table(f'[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    process = up.start("nohup")
    pid = up.wait_until_ready()["sleeper"]["pid"]
    process.send_signal(signal.SIGHUP)
    assert up.states()["sleeper"]["pid"] == pid
    assert "SIGHUP" not in up.text()


def test_of_another_users_it_says_so_and_starts_nothing(up: Up, tmp_path: Path) -> None:
    up.table(f'[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    up.start()
    up.wait_until_ready()
    other = Up(up.folder, {"AUTOCELERY_HOME": str(tmp_path / "others")})
    for words in (("up",), ("ctl", "status"), ("ctl", "stop", "sleeper")):
        done = other.run(*words)
        assert (done.returncode, "another user started it" in done.stderr) == (1, True), words


@pytest.mark.parametrize("home", ["h" * 120, "file/below"])
def test_where_no_socket_can_be_it_says_so(up: Up, tmp_path: Path, home: str) -> None:
    (tmp_path / "file").touch()
    up.table(f'[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    done = Up(up.folder, {"AUTOCELERY_HOME": str(tmp_path / home)}).run("up")
    assert (done.returncode, "Set AUTOCELERY_HOME" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_killed_itself_it_leaves_nothing_behind(up: Up) -> None:
    up.table(f'[up.processes]\none = {{ command = "{SLEEPER}" }}\ntwo = {{ command = "{SLEEPER}" }}\n')
    process = up.start()
    pids = [each["pid"] for each in up.wait_until_ready().values()]
    process.kill()
    process.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in pids), what="they have ended")
    up.start()
    assert set(up.wait_until_ready()) == {"one", "two"}, "what it left is no hindrance"


def test_a_process_that_dies_at_every_start_ends_it_all(up: Up) -> None:
    up.table(f"""
        [up.processes]
        good = {{ command = "{SLEEPER}" }}
        bad = {{ command = "{sys.executable} -c 'raise SystemExit(7)'" }}
        missing = {{ command = "no-such-program", after = ["good"] }}
    """)
    process = up.start()
    good = wait_for(lambda: up.states().get("good", {}).get("pid"), what="the good one runs")
    assert process.wait(120) == 1
    assert "bad ended with exit code 7" in up.text()
    assert "5 times in a row, and is given up" in up.text()
    assert not is_alive(good)


def test_over_its_memory_it_is_started_again(up: Up) -> None:
    eater = f"{sys.executable} -c 'import time; kept = bytearray(200 << 20); time.sleep(600)'"
    up.table(f'[up.processes]\neater = {{ command = "{eater}", memory_limit = "100m" }}\n')
    up.start()
    wait_for(lambda: up.states().get("eater", {}).get("starts", 0) >= 2, what="it was started again")
    assert "over its limit of 100 MB: it is started again" in up.text()


def test_a_second_one_in_the_same_project_is_refused(up: Up) -> None:
    up.table(f'[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    process = up.start()
    up.wait_until_ready()
    second = up.run("up")
    assert (second.returncode, f"is up already, with pid {process.pid}" in second.stderr) == (1, True)
    assert process.poll() is None


def test_the_probe_says_whether_all_is_ready(up: Up) -> None:
    port = free_port()
    up.table(f'[up]\nhttp = "127.0.0.1:{port}"\n[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    up.start()
    up.wait_until_ready()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready") as answer:
        assert json.load(answer) == {"ready": True, "processes": {"sleeper": "ready"}}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/live") as answer:
        assert answer.status == 200
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/elsewhere")
    refused.value.close()


def test_a_port_in_use_is_one_message_and_nothing_runs(up: Up) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up.table(f'[up]\nhttp = "127.0.0.1:{port}"\n[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
        done = up.run("up")
    assert (done.returncode, f"cannot listen on 127.0.0.1:{port}" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


def test_the_socket_is_its_owners_alone(up: Up, tmp_path: Path) -> None:
    up.table(f'[up.processes]\nsleeper = {{ command = "{SLEEPER}" }}\n')
    up.start()
    up.wait_until_ready()
    [place] = (tmp_path / "home" / "cache" / "up").glob("*.sock")
    assert place.stat().st_mode & 0o777 == 0o600
    assert place.parent.stat().st_mode & 0o777 == 0o700


def test_its_logs_are_shown_and_followed(up: Up) -> None:
    counter = f"{sys.executable} -c 'import itertools, time; [(print(n), time.sleep(0.1)) for n in itertools.count()]'"
    up.table(f'[up.processes]\ncounter = {{ command = "{counter}" }}\n')
    up.start()
    up.wait_until_ready()
    last = up.run("ctl", "logs", "-n", "1", "counter").stdout
    assert last.strip().isdecimal()
    following = subprocess.Popen(
        up._command("ctl", "logs", "-f", "-n", "0", "counter"),
        cwd=up.folder,
        env=up._environment,
        stdout=subprocess.PIPE,
    )
    assert following.stdout is not None
    assert int(following.stdout.readline()) > int(last)
    following.kill()
    following.wait()
    following.stdout.close()
    unknown = up.run("ctl", "stop", "nothing")
    assert (unknown.returncode, "There is no process nothing. There are: counter." in unknown.stderr) == (
        1,
        True,
    )


def test_told_twice_it_does_not_wait(up: Up) -> None:
    stubborn = (
        f"{sys.executable} -c 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'"
    )
    up.table(f'[up.processes]\nstubborn = {{ command = "{stubborn}" }}\n')
    process = up.start()
    up.wait_until_ready()
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: "Once more: now" in up.text(), what="it was heard")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert time.monotonic() - began < 30


def test_as_process_one_it_takes_leave_of_orphans_and_ends_when_told(up: Up) -> None:
    alone = ("unshare", "--pid", "--fork", "--mount-proc")
    if shutil.which(alone[0]) is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("no right to make a namespace of processes here")
    up.table("""[up.processes]\nleaver = { command = "sh -c '(sleep 0.5 &); exec sleep 600'" }\n""")
    outside = up.start(*alone)
    up.wait_until_ready()  # seconds after the orphan has ended
    [first] = psutil.Process(outside.pid).children()
    others = first.children(recursive=True)
    assert {each.name() for each in others} == {"sleep"}, "the orphan was taken leave of"
    assert not [each for each in others if each.status() == psutil.STATUS_ZOMBIE]
    first.send_signal(signal.SIGTERM)
    assert outside.wait(60) == 0
    wait_for(lambda: not [each for each in others if is_alive(each.pid)], what="nothing is left")
