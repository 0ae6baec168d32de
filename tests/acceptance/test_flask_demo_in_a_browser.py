"""The demo of ``examples/flask_rabbitmq`` as a person clicks through it, with ``autocelery up`` and ``ctl`` beside.

``SCREENSHOTS=docs/tutorial/images`` has the tutorial's pictures written there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.browsers import page_at
from tests.django_projects import without_what_the_desk_says
from tests.documentation import copy_of
from tests.services import free_port, own_rabbitmq
from tests.waiting import PATIENCE, wait_for

pytestmark = pytest.mark.slow

_PATIENCE = PATIENCE * 1000


class Demo:
    """The example in a folder of its own, and what runs it. Owns the process.

    Args:
        folder: for the project, its home and its results.
        broker: the URL.
    """

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder, self.port = copy_of("flask_rabbitmq", folder), free_port()
        table = self.folder / "autocelery.toml"
        table.write_text(table.read_text().replace("5001", str(self.port)))
        results = folder / "results"
        results.mkdir()
        self.environment = {
            **without_what_the_desk_says(os.environ),
            "AUTOCELERY_HOME": str(folder / "home"),
            "AUTOCELERY_STORE": str(folder / "blobs"),
            "CELERY_BROKER_URL": broker,
            "CELERY_RESULT_BACKEND": f"file://{results}",
            "HELLO_SECONDS": "2",
            "HELLO_MANAGEMENT": "http://localhost:15672/",
        }
        self.log = folder / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start all of it and wait until it is ready."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command("up"), cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        wait_for(lambda: self.run("status", "--ready").returncode == 0, what="all of it is ready")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a second terminal."""
        return subprocess.run(
            self._command(*words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ctl(self, *words: str) -> None:
        """Run a command that is to succeed."""
        done = self.run("ctl", *words)
        assert done.returncode == 0, done.stderr

    def states(self) -> dict[str, Any]:
        """Return what `ctl status` says of each process."""
        return {each["name"]: each for each in json.loads(self.run("ctl", "status", "--json").stdout)}

    def git(self, *words: str) -> None:
        """Run git in the project."""
        author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", *author, *words], cwd=self.folder, check=True, capture_output=True)

    def end(self) -> None:
        """End all of it."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "autocelery", *words]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, rabbitmq_url: str) -> Iterator[Demo]:
    assert rabbitmq_url
    with own_rabbitmq() as vhost:
        made = Demo(tmp_path_factory.mktemp("demo"), vhost.url)
        try:
            made.start()
            yield made
        finally:
            made.end()


@pytest.fixture
def page(demo: Demo) -> Iterator[Page]:
    with page_at(f"http://127.0.0.1:{demo.port}") as page:
        page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)
        page.goto("/")
        yield page


def picture(page: Page, name: str) -> None:
    """Write a picture of the page where they are asked for."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_in_the_request_the_page_is_frozen(demo: Demo, page: Page) -> None:
    took = page.evaluate(
        """async () => {
            const began = performance.now();
            await fetch("/frozen", {method: "POST"});
            return (performance.now() - began) / 1000;
        }"""
    )
    assert took >= 2
    page.click("#frozen button")
    expect(page.locator(".said")).to_have_text("hello, at last")
    picture(page, "flask-frozen")


def test_on_a_worker_it_is_there_at_once(demo: Demo, page: Page) -> None:
    expect(page.locator("#hello_queue")).to_have_text("0")
    page.click("#worker button")
    expect(page.locator("#calls li").first).to_have_text(re.compile("PENDING|STARTED"))
    expect(page.locator("#calls li").first).to_have_text("hello Ada")
    assert "hello Ada, from worker_hello@" in demo.run("ctl", "logs", "worker_hello").stdout
    expect(page.locator("#management")).to_have_attribute("href", "http://localhost:15672/")


def test_requests_pile_up_while_the_worker_is_held_and_go_when_it_starts(demo: Demo, page: Page) -> None:
    demo.ctl("stop", "worker_hello")
    for _ in range(5):
        page.click("#worker button")
    expect(page.locator("#hello_queue")).to_have_text("5")
    expect(page.locator("#calls li")).to_have_text(["PENDING"] * 5)
    picture(page, "flask-held")
    demo.ctl("start", "worker_hello")
    expect(page.locator("#hello_queue")).to_have_text("0")
    expect(page.locator("#calls li")).to_have_text(["hello Ada"] * 5)
    picture(page, "flask-done")


def test_an_old_call_fails_where_the_signature_is_strict_and_not_where_it_is_tolerant(page: Page) -> None:
    strict, tolerant = page.locator("[data-name=strict]"), page.locator("[data-name=tolerant]")
    strict.locator("button").click()
    expect(strict.locator(".failed")).to_contain_text("greet/1(name,language)")
    expect(strict.locator(".failed")).to_contain_text("greet/1(name)")
    tolerant.locator("button").click()
    expect(tolerant.locator(".ok")).to_have_text("hello Ada")
    picture(page, "flask-signatures")


def test_check_would_have_said_so(demo: Demo) -> None:
    tasks = demo.folder / "hello" / "tasks.py"
    now = tasks.read_text()
    before = now.replace("def greet(name, language):", "def greet(name):")
    assert before != now
    tasks.write_text(before)
    demo.git("init", "-q", "-b", "main")
    demo.git("add", "-A")
    demo.git("commit", "-qm", "a name is enough")
    tasks.write_text(now)
    done = demo.run("-A", "make_celery", "check", "--against", "HEAD")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"hello\.tasks\.greet\b.*", done.stdout)
    assert "hello.tasks.greet_anyone" not in done.stdout
    demo.git("checkout", "-q", "--", ".")
    tasks.write_text(now)


def test_reports_go_before_the_others_on_a_busy_machine(demo: Demo, page: Page) -> None:
    states = demo.states()
    nice = {
        name: psutil.Process(told["pid"]).nice() for name, told in states.items() if name.startswith("worker")
    }
    own = psutil.Process().nice()
    assert nice["worker_reports"] == own
    assert nice["worker_hello"] == nice["worker_default"] == own + 3
    page.click("#priorities button")
    expect(page.locator("#priorities .ok")).to_have_text("20 are queued")
    expect(page.locator("#reports")).to_have_text("0")


@pytest.mark.parametrize(
    ("number", "fails", "works"),
    [
        (1, "daemonic processes are not allowed to have children", "[1, 4, 9]"),
        (2, "announce", "the order is there"),
    ],
)
def test_a_gotcha_fails_as_it_is_and_works_here(page: Page, number: int, fails: str, works: str) -> None:
    page.goto("/gotchas")
    section = page.locator(f"#gotcha-{number}")
    section.locator("[data-name=stock] button").click()
    expect(section.locator("[data-name=stock] .failed")).to_contain_text(fails)
    section.locator("[data-name=works] button").click()
    expect(section.locator("[data-name=works] .ok")).to_have_text(works)


def test_short_tasks_wait_for_a_long_one_while_a_worker_is_free_and_here_they_do_not(page: Page) -> None:
    page.goto("/gotchas")
    section = page.locator("#gotcha-3")
    seconds = {}
    for way in ("stock", "works"):
        section.locator(f"[data-name={way}] button").click()
        shown = section.locator(f"[data-name={way}] .ok")
        expect(shown).to_contain_text("was done after")
        told = re.search(r"done after ([\d.]+) s", shown.inner_text())
        assert told
        seconds[way] = float(told[1])
    assert seconds["stock"] > 4 > seconds["works"], seconds
    picture(page, "flask-gotchas")


def test_supervisord_runs_the_same_from_what_is_written(demo: Demo) -> None:
    written = demo.run("up", "--write", "supervisord")
    assert written.returncode == 0
    programs = set(re.findall(r"^\[program:(.*)\]$", written.stdout, re.MULTILINE))
    assert programs == set(demo.states())


def test_the_page_of_queues_answers_while_nobody_listens(demo: Demo) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{demo.port}/queues", timeout=10) as answer:
        assert json.load(answer) == {"hello_queue": 0, "reports": 0}


def test_without_rabbitmq_a_broker_of_its_own_runs(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "scripts" / "demo_flask.py"
    environment = {
        **without_what_the_desk_says(os.environ),
        "AUTOCELERY_HOME": str(tmp_path),
        "RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}//",
    }
    done = subprocess.run(
        [sys.executable, str(script), "--write", "supervisord"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "No RabbitMQ answers: a broker of its own runs." in done.stdout
    assert "[program:worker_hello]" in done.stdout
