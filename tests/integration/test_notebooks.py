"""Notebooks and shells, run as their users run them: IPython, a Jupyter kernel, Python's own REPL."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import since
from tests.scripting import Project

TASKS = """
    from shop.celery import app

    @app.task
    def double(x):
        return 2 * x

    @app.task
    def who():
        import os
        return os.getpid()
"""
#: Runs cells in IPython and tells of each what it gave, raised and printed.
NOTEBOOK = (
    since.SCRIPT_HEAD
    + """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
told = []
for cell in ["%load_ext autocelery", "from shop.celery import app, auto\\nfrom shop.tasks import double, who",
             *json.load(sys.stdin)]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        done = shell.run_cell(cell, store_history=True)
    failed = done.error_before_exec or done.error_in_exec
    error = [type(failed).__name__, str(failed)] if failed else None
    told.append({"value": repr(done.result), "error": error, "out": out.getvalue(), "err": err.getvalue()})
print()
print(json.dumps(told[2:]))
"""
)
Cells = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("notebooks"), TASKS)
    try:
        project.worker("notebooks", "-c", "2")
        yield project
    finally:
        project.close()


@pytest.fixture
def cells(project: Project, tmp_path: Path) -> Cells:
    """Run cells in IPython, each as a user would, and return what came of each."""

    def run(*cells: str) -> list[dict[str, Any]]:
        done = project.python("-c", NOTEBOOK, text=json.dumps(cells), IPYTHONDIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        told: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return told

    return run


def values(told: list[dict[str, Any]]) -> list[str]:
    assert [each["error"] for each in told] == [None] * len(told)
    return [each["value"] for each in told]


def test_a_live_cell_runs_on_the_worker_and_brings_back_its_value_and_its_names(cells: Cells) -> None:
    told = cells(
        "import os\nhere = os.getpid()\nrate, pair = 3, (1, 2)",
        "%%live\nthere = os.getpid()\npriced = [rate * each for each in pair]\npair",
        "[there == here, priced, pair]",
    )
    assert values(told) == ["None", "(1, 2)", "[False, [3, 6], (1, 2)]"]


def test_a_live_line_gives_its_value_and_what_a_cell_prints_is_shown(cells: Cells) -> None:
    told = cells(
        "def squared(x):\n    return x * x",
        "%live [squared(each) for each in range(4)]",
        "%%live\nprint('from the worker')\nNone",
        "%live",
    )
    assert told[1]["value"] == "[0, 1, 4, 9]"
    assert told[2]["out"] == "from the worker\n"
    assert "Write an expression" in told[3]["err"]


def test_functions_and_classes_of_the_notebook_travel_and_the_next_version_is_what_runs(cells: Cells) -> None:
    told = cells(
        "import dataclasses\n@dataclasses.dataclass\nclass Shop:\n    sold: int\n    def twice(self):\n"
        "        return scaled(self.sold)",
        "def scaled(x):\n    return 2 * x",
        "%%live\nbest = Shop(4)\nbest.twice()",
        "def scaled(x):\n    return 3 * x",
        "%live best.twice()",
        "[type(best) is Shop, best.twice(), auto.live(Shop.twice).delay(best).get(timeout=60)]",
        "%%live\ndef shifted(x):\n    return scaled(x) + offset\noffset = 1",
        "offset = 100\nshifted(1)",
    )
    assert values(told) == ["None", "None", "8", "None", "12", "[True, 12, 12]", "None", "103"]


def test_a_task_of_the_notebook_that_is_defined_again_is_the_next_version(cells: Cells) -> None:
    told = cells(
        "@app.task\ndef priced(x):\n    return x",
        "priced.live.delay(1).get(timeout=60)",
        "@app.task\ndef priced(x):\n    return 10 * x",
        "[priced.live.delay(1).get(timeout=60), double.live.delay(4).get(timeout=60)]",
    )
    assert values(told)[1::2] == ["1", "[10, 8]"]


def test_an_unchanged_cell_keeps_its_snapshot_also_in_a_notebook_that_starts_anew(cells: Cells) -> None:
    definitions = (
        "import dataclasses\nRATE = 2",
        "@dataclasses.dataclass\nclass Point:\n    x: int\n    def far(self):\n        return self.x * RATE",
        "def moved(point):\n    return Point(point.x + helped(point)).far()",
        "def helped(point):\n    return point.x",
    )
    of_now = "auto.live(moved).pinned()._snapshot.id"
    told = cells(*definitions, of_now, *definitions, of_now, "RATE = 3", of_now, "RATE = 2", of_now)
    first, again, other, back = (told[number]["value"] for number in (4, 9, 11, 13))
    assert len(first) == 66
    assert first == again == back != other
    assert cells(*definitions, of_now)[-1]["value"] == first


def test_a_live_cell_keeps_its_snapshot_while_only_its_data_change(cells: Cells) -> None:
    spy = "from celery.signals import before_task_publish\nseen = set()\n" + (
        "@before_task_publish.connect\ndef spy(headers=None, **kwargs):\n"
        "    seen.add(headers['autocelery']['snapshot'])"
    )
    told = cells(spy, "x = 1", "%live x + 1", "x = [5]", "%live x + 1", "%live x + [1]", "len(seen)")
    assert told[2]["value"] == "2"
    assert told[4]["error"][0] == "TypeError"
    assert told[5]["value"] == "[5, 1]"
    assert told[6]["value"] == "2"


def test_a_name_that_is_gone_is_named_before_anything_is_sent(cells: Cells) -> None:
    told = cells(
        "def helped(x):\n    return x\ndef outer(x):\n    return helped(x)",
        "del helped",
        "auto.live(outer).delay(1)",
        "%%live\noutcome = missing + 1",
        "%live outer(1)",
        "%%live\nfor late in range(3):\n    total = late\ntotal",
    )
    assert told[2]["error"][0] == "NameGone"
    assert "The function outer refers to 'helped'" in told[2]["error"][1]
    assert told[3]["error"][0] == "NameGone"
    assert "'missing'" in told[3]["error"][1]
    assert told[4]["error"][0] == "NameGone"
    assert told[5]["value"] == "2"


def test_what_cannot_travel_is_named_and_what_cannot_come_back_stays(cells: Cells) -> None:
    told = cells(
        "import threading\nlock = threading.Lock()",
        "%live lock.locked()",
        "%%live\nheld = threading.Lock()\nkept = 5\nkept",
        "[kept, 'held' in globals()]",
        "%live threading.Lock()",
        "%%live\n%timeit 1",
        "%%live\nraise KeyError('tea')",
    )
    assert told[1]["error"][0] == "ValueNotPicklable"
    assert told[2]["value"] == "5"
    assert "held stayed on the worker" in told[2]["err"]
    assert told[3]["value"] == "[5, False]"
    assert told[4]["error"][0] == "ValueNotPicklable"
    assert told[5]["error"][0] == "WrongCall"
    assert told[6]["error"] == ["KeyError", "'tea'"]


def test_which_app_is_meant_is_found_or_asked_for(cells: Cells) -> None:
    told = cells(
        "from celery import Celery\nfrom autocelery import Autocelery\nother = Celery('other')\n"
        "more = Autocelery(other)",
        "%live 1 + 1",
        "%%live -A auto\n1 + 1",
        "%%live --app shop --timeout 30\n2 + 2",
        "%%live -A nowhere\n1",
    )
    assert told[1]["error"][0] == "AppNotFound"
    assert "2 apps" in told[1]["error"][1]
    assert (told[2]["value"], told[3]["value"]) == ("2", "4")
    assert told[4]["error"][0] == "AppNotFound"


def test_a_jupyter_notebook_runs_its_live_cells(project: Project, tmp_path: Path) -> None:
    script = tmp_path / "execute.py"
    script.write_text(
        """
import json, sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in json.load(sys.stdin)])
NotebookClient(notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
print(json.dumps([[o.get("text", o.get("data", {}).get("text/plain")) for o in c.outputs] for c in notebook.cells]))
"""
    )
    cells = [
        "%load_ext autocelery\nfrom shop.celery import app, auto\nimport os, pandas",
        "class Shop:\n    def __init__(self, n):\n        self.n = n",
        "frame = pandas.DataFrame({'a': [1, 2, 3]})",
        "%%live\nprint('on the worker')\nshop = Shop(int(frame.a.sum()))\nframe.a.max() + shop.n",
        "[type(shop) is Shop, shop.n, len(list(auto.map(lambda x: Shop(x), range(3), progress=False)))]",
    ]
    done = project.python(str(script), text=json.dumps(cells), IPYTHONDIR=str(tmp_path / "ipython"))
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout.splitlines()[-1])
    assert outputs[3] == ["on the worker\n", "np.int64(9)"]
    assert outputs[4] == ["[True, 6, 3]"]


@pytest.mark.parametrize("options", [(), ("--plain",)], ids=["ipython", "plain"])
def test_in_the_shell_every_call_is_live_and_the_next_version_is_what_runs(
    project: Project, tmp_path: Path, options: tuple[str, ...]
) -> None:
    tasks = project.top / "shop" / "tasks.py"
    before = tasks.read_text()
    tasks.write_text(before.replace("2 * x", "200 * x"))
    typed = [
        since.SCRIPT_HEAD.strip() or "pass",
        "print('first', double.delay(4).get(timeout=60))",
        "@app.task\ndef priced(x):\n    return x\n",
        "print('second', priced.delay(3).get(timeout=60))",
        "@app.task\ndef priced(x):\n    return 10 * x\n",
        "print('third', priced.delay(3).get(timeout=60))",
        "print('fourth', auto.live(lambda x: x - 1).delay(3).get(timeout=60))",
    ]
    try:
        done = project.python(
            *("-m", "autocelery", "-A", "shop", "shell", *options),
            text="\n".join([*typed, ""]),
            IPYTHONDIR=str(tmp_path),
        )
    finally:
        tasks.write_text(before)
    assert done.returncode == 0, done.stderr
    for expected in ("first 800", "second 3", "third 30", "fourth 2"):
        assert expected in done.stdout, done.stdout + done.stderr
    assert "is live" in done.stdout + done.stderr
