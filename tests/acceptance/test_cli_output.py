"""What the commands show of tasks that run: in a pipe, in a file and on a terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import since
from tests.printers import printing_shop
from tests.shops import Shop, own_server
from tests.stopwatch import Stopwatch
from tests.terminals import Terminal
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

_COMMAND = [sys.executable, "-c", "from autocelery._cli import main; main()", "-A", "shop"]
_SCRIPT = (
    since.SCRIPT_HEAD
    + """
import sys
from shop import tasks
gate = sys.argv[1]
results = [tasks.say.delay(f"said {number}", gate) for number in range(3)]
print("result:", tasks.say.delay("alone", gate).get(timeout=60), [each.get(timeout=60) for each in results])
"""
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        broker = own_server(owned)
        shop = printing_shop(Shop(tmp_path_factory.mktemp("seen"), broker.broker_url, broker.result_backend))
        owned.callback(shop.close)
        (shop.top / "script.py").write_text(_SCRIPT)
        shop.worker("seen", "-c", "2")
        first = run(shop, "call", "shop.tasks.nothing")
        assert first.returncode == 0, first.stderr
        yield shop


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def environment(shop: Shop) -> dict[str, str]:
    return {**os.environ, **shop.environment}


def run(shop: Shop, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_COMMAND, *words],
        cwd=shop.top,
        env=environment(shop),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def on_terminal(shop: Shop, *words: str) -> Terminal:
    return Terminal([*_COMMAND, *words], shop.top, environment(shop))


def test_call_shows_what_the_task_prints_on_stderr_while_it_runs_and_the_result_alone_on_stdout(
    shop: Shop, gate: Path
) -> None:
    process = subprocess.Popen(
        [*_COMMAND, "call", "shop.tasks.talk", str(gate)],
        cwd=shop.top,
        env=environment(shop),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert process.stderr.readline().startswith("printed ")
        gate.touch()
        rest = process.stderr.read()
        assert process.stdout.read() == "42\n"
    for line in (
        "child",
        "child complained",
        "from C",
        "WARNING shop.tasks: to the task's logger",
        "at last",
    ):
        assert line in rest.splitlines()


def test_call_with_json_has_nothing_but_json_on_stdout_and_quiet_shows_nothing(
    shop: Shop, gate: Path
) -> None:
    gate.touch()
    done = run(shop, "call", "--json", "shop.tasks.say", "something", str(gate))
    assert json.loads(done.stdout)["result"] == "something"
    assert done.stderr == "something\nsomething\n"
    quiet = run(shop, "call", "--quiet", "shop.tasks.say", "something", str(gate))
    assert (quiet.stdout, quiet.stderr) == ('"something"\n', "")


def test_call_of_a_task_that_fails_shows_what_it_printed_before_the_traceback(shop: Shop) -> None:
    done = run(shop, "call", "shop.tasks.fail")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("before it fails\nTraceback")


def test_call_prints_the_result_though_nobody_reads_the_rest(shop: Shop) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        command = [*_COMMAND, "call", "shop.tasks.shout", "something"]
        done = subprocess.run(
            command,
            cwd=shop.top,
            env=environment(shop),
            stdout=subprocess.PIPE,
            stderr=closed,
            timeout=60,
            check=False,
        )
    assert done.stdout == b'"something"\n'


def test_call_of_a_task_that_prints_nothing_waits_for_nothing(shop: Shop) -> None:
    def seconds(*options: str) -> float:
        with Stopwatch() as watch:
            assert run(shop, "call", *options, "shop.tasks.nothing").stdout == "1\n"
        return watch.seconds

    seconds()
    listening, quiet = zip(*((seconds(), seconds("--quiet")) for _ in range(4)), strict=True)
    assert min(listening) < min(quiet) + 1  # who waits for last words waits for two seconds


def test_run_says_whose_each_line_is_where_several_run_and_leaves_stdout_to_the_script(
    shop: Shop, gate: Path
) -> None:
    gate.touch()
    done = run(shop, "run", "script.py", str(gate))
    assert done.stdout == "result: alone ['said 0', 'said 1', 'said 2']\n", done.stderr
    labelled = re.findall(r"^(?:\[say [\da-f-]{8}\] )?(said \d|alone)$", done.stderr, re.M)
    assert sorted(labelled) == sorted(["said 0", "said 1", "said 2", "alone"] * 2)
    assert re.search(r"^\[say [\da-f-]{8}\] said \d$", done.stderr, re.M)
    assert run(shop, "run", "--quiet", "script.py", str(gate)).stderr == ""


def test_on_a_terminal_a_task_that_reports_progress_has_a_bar_and_prints_above_it(
    shop: Shop, gate: Path
) -> None:
    with on_terminal(shop, "call", "shop.tasks.report", str(gate)) as terminal:
        terminal.wait_for("scoring")
        terminal.wait_for("25%")
        gate.touch()
        assert terminal.ended() == 0
        assert '"reported"' in terminal.shown
    assert "scoring" not in run(shop, "call", "shop.tasks.report", str(gate)).stderr


def test_a_bar_that_a_task_draws_itself_is_drawn_here(shop: Shop) -> None:
    with on_terminal(shop, "call", "shop.tasks.steps", "50") as terminal:
        assert terminal.ended() == 0
        assert "\r49/50" in terminal.shown
        assert terminal.shown.index("\r1/50") < terminal.shown.index("\r49/50")


@pytest.mark.parametrize("answer", ["l\n", "\x03"])
def test_ctrl_c_on_a_terminal_asks_and_leaves_the_call_running(shop: Shop, gate: Path, answer: str) -> None:
    with on_terminal(shop, "call", "shop.tasks.say", "something", str(gate)) as terminal:
        terminal.wait_for("something")
        terminal.type("\x03")
        terminal.wait_for("revoke it?")
        terminal.type(answer)
        assert terminal.ended() == 130
        found = re.search(r"The call goes on as ([\da-f-]{36})", terminal.shown)
    assert found
    gate.touch()
    assert shop.result(found[1]) == "something"


def test_ctrl_c_on_a_terminal_asks_and_revokes_the_call(shop: Shop, gate: Path) -> None:
    with on_terminal(shop, "call", "shop.tasks.say", "something", str(gate)) as terminal:
        terminal.wait_for("something")
        terminal.type("\x03")
        terminal.wait_for("revoke it?")
        terminal.type("r\n")
        assert terminal.ended() == 130
        found = re.search(r"The call ([\da-f-]{36}) is revoked", terminal.shown)
    assert found
    wait_for(lambda: shop.app.AsyncResult(found[1]).state == "REVOKED", what="the call is revoked")
