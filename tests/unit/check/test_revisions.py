"""`autocelery check --against`: what is said of tasks, in every way that they are written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_APP = """
import functools
from celery import Celery
from autocelery import Autocelery

app = Celery("proj", broker="memory://", include=["proj.tasks"])
auto = Autocelery(app)
OPTIONS = {"bind": False}

def celery_task(function):
    return app.task(function)

def quietly(function):
    return functools.wraps(function)(lambda *args: function(*args))

def adding(function):
    def wrapper(added, *args):
        return function(*args)
    return wrapper
"""
_HEAD = """
import sys
from celery import Task, shared_task as job
from celery.app.task import Task as Base
from proj.celery import OPTIONS, adding, app, celery_task, quietly

"""
#: Ways that say in their module what the task takes, by the task's name; PARAMETERS is what changes.
READ = {
    "proj.tasks.plain": "@app.task\ndef plain(PARAMETERS): ...",
    "proj.tasks.aliased": "@job(ignore_result=True)\ndef aliased(PARAMETERS): ...",
    "proj.tasks.short": "short_task = app.task\n@short_task\ndef short(PARAMETERS): ...",
    "proj.tasks.called": "def called(PARAMETERS): ...\ndirect = app.task(called)",
    "proj.own": "def named(PARAMETERS): ...\ndirect_too = app.task(name='proj.own', bind=False)(named)",
    "proj.constant": "NAME = 'proj.constant'\n@app.task(name=NAME)\ndef constant(PARAMETERS): ...",
    "proj.tasks.starred": "OWN = {'bind': True}\n@app.task(**OWN)\ndef starred(self, PARAMETERS): ...",
    "proj.tasks.dicted": "MORE = dict(bind=True)\n@app.task(**MORE)\ndef dicted(self, PARAMETERS): ...",
    "proj.tasks.flagged": "IS_BOUND = True\n@app.task(bind=IS_BOUND)\ndef flagged(self, PARAMETERS): ...",
    "proj.tasks.Report": "class Report(Task):\n    def run(self, PARAMETERS): ...\napp.register_task(Report())",
    "proj.noted": "class Noted(Base):\n    name: str = 'proj.noted'\n    def run(self, PARAMETERS): ...\n"
    "noted = app.register_task(Noted())",
    "proj.tasks.Heir": "class Parent(Task):\n    abstract = True\n    def run(self, PARAMETERS): ...\n"
    "class Heir(Parent): ...\nheir = Heir()\napp.register_task(heir)\nheir.delay",
    "proj.tasks.inner": "def make():\n    @app.task\n    def inner(PARAMETERS): ...\n    return inner\nmade = make()",
    "proj.tasks.wrapped": "@app.task\n@quietly\ndef wrapped(PARAMETERS): ...",
}
#: Ways that do not.
UNREAD = {
    "proj.x": "for each in ('x', 'y'):\n    @app.task(name=f'proj.{each}')\n    def looped(PARAMETERS): ...",
    "proj.tasks.either": "if sys.version_info >= (3, 8):\n    @app.task\n    def either(PARAMETERS): ...\nelse:\n"
    "    @app.task\n    def either(): ...",
    "proj.tasks.strange": "@celery_task\ndef strange(PARAMETERS): ...",
    "proj.tasks.imported": "@app.task(**OPTIONS)\ndef imported(PARAMETERS): ...",
    "proj.tasks.altered": "GROWN = {}\nGROWN['bind'] = True\n@app.task(**GROWN)\ndef altered(self, PARAMETERS): ...",
    "proj.celery.wrapper": "@app.task\n@adding\ndef wrapper(PARAMETERS): ...",
    "proj.joined": "PREFIX = 'proj'\n@app.task(name=PREFIX + '.joined')\ndef joined(PARAMETERS): ...",
    "proj.tasks.upgraded": "UP = {}\nUP[1] = lambda args, kwargs: (args, kwargs)\n@app.task(upgrade=UP)\n"
    "def upgraded(PARAMETERS): ...",
}
#: The loop's other task, and the name that a decorator hides.
ALSO_UNREAD = ("proj.y", "proj.tasks.wrapper")
_CLASS = "class f(Task):\n    def run(self, PARAMETERS): ..."


class Project:
    """A package ``proj`` in git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("proj/__init__.py", "")
        self.write("proj/celery.py", _APP)
        self._git("init", "-q", "..")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def tasks(self, *texts: str, parameters: str = "a") -> None:
        self.write("proj/tasks.py", _HEAD + "\n".join(texts).replace("PARAMETERS", parameters) + "\n")

    def commit(self) -> None:
        self._git("add", "-A", "..")
        self._git("-c", "user.name=proj", "-c", "user.email=proj@localhost", "commit", "-qm", "as it was")

    def change_elsewhere(self) -> None:
        self.write("proj/other.py", "# What this says is of no task.\n")

    def check(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-c",
            "from autocelery._cli import main; main()",
            "-A",
            "proj",
            "check",
            *words,
        ]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )

    def verdicts(self) -> dict[str, str]:
        told = self.check("--all", "--json")
        return {each["task"]: each["verdict"] for each in json.loads(told.stdout)}

    def _git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "top" / "backend")


def test_what_is_unchanged_is_safe_or_cannot_be_told(project: Project) -> None:
    project.tasks(*READ.values(), *UNREAD.values())
    project.commit()
    assert set(project.verdicts().values()) == {"safe"}, "no file changed"
    project.change_elsewhere()
    found = project.verdicts()
    assert found == {**dict.fromkeys(READ, "safe"), **dict.fromkeys([*UNREAD, *ALSO_UNREAD], "cannot tell")}


def test_what_changes_is_seen_or_cannot_be_told(project: Project) -> None:
    project.tasks(*READ.values(), *UNREAD.values())
    project.commit()
    project.tasks(*READ.values(), *UNREAD.values(), parameters="a, b")
    found = project.verdicts()
    assert {found[name] for name in READ} == {"breaks"}
    assert {found[name] for name in UNREAD} == {"cannot tell", "breaks"}, (
        "of a task in two ways, both may break"
    )


def test_what_is_gone_is_seen_or_cannot_be_told(project: Project) -> None:
    project.tasks(*READ.values(), *UNREAD.values())
    project.commit()
    project.tasks("")
    found = project.verdicts()
    assert {found[name] for name in READ} == {"safe if producers go first"}
    lost = {"either": "safe if producers go first", "wrapper": "safe if producers go first"}
    for name in ("looped", "strange", "imported", "altered", "joined", "upgraded", "either", "wrapper"):
        assert found[f"proj.tasks.{name}"] == lost.get(name, "cannot tell")


def test_what_is_new_is_seen_or_cannot_be_told(project: Project) -> None:
    project.tasks("")
    project.commit()
    project.tasks(*READ.values(), *UNREAD.values())
    found = project.verdicts()
    assert {found[name] for name in READ} == {"safe if workers go first"}
    assert {found[name] for name in UNREAD} <= {"safe if workers go first", "cannot tell"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("@app.task(**OPTIONS)\ndef f(a): ...", "@app.task\ndef f(a): ..."),
        ("@app.task\n@adding\ndef f(a, b): ...", "@app.task\ndef f(a, b): ..."),
        ("@celery_task\ndef f(a): ...", "@app.task\ndef f(a): ..."),
        ("@app.task\ndef f(a): ...", "@celery_task\ndef f(a): ..."),
        ("@app.task(name='proj.' + 'tasks.f')\ndef g(a): ...", "@app.task\ndef f(a): ..."),
        ("def (:", "@app.task\ndef f(a): ..."),
        (_CLASS, f"{_CLASS}\napp.register_task(f)"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_on_one_side_is_not_judged(project: Project, before: str, after: str) -> None:
    project.tasks(before)
    project.commit()
    project.tasks(after)
    assert project.verdicts()["proj.tasks.f"] == "cannot tell"


def test_an_upgrade_counts_wherever_it_is_written(project: Project) -> None:
    upgrades = "UP = {1: lambda args, kwargs: (args, kwargs)}\n@app.task(upgrade=UP)\n"
    project.tasks(upgrades + "def f(a): ...")
    project.commit()
    project.tasks(upgrades + "def f(b): ...")
    assert project.verdicts()["proj.tasks.f"] == "breaks"


def test_the_policy_of_a_class_counts(project: Project) -> None:
    declared = f"{_CLASS}\n    signature_policy = 'tolerant'\napp.register_task(f)"
    project.tasks(declared)
    project.commit()
    project.tasks(declared, parameters="b")
    assert project.verdicts()["proj.tasks.f"] == "safe"


def test_tests_have_no_tasks(project: Project) -> None:
    project.tasks("@app.task\ndef f(a): ...")
    project.write(
        "tests/test_tasks.py", "@app.task(name='proj.tasks.f')\ndef f(z): ...\n@app.task\ndef g(): ...\n"
    )
    project.commit()
    project.change_elsewhere()
    assert project.verdicts() == {"proj.tasks.f": "safe"}


def test_what_is_there_and_not_imported_is_not_judged(project: Project) -> None:
    project.tasks("@app.task\ndef f(a): ...")
    project.write("proj/more.py", "from proj.celery import app\n@app.task\ndef g(a): ...\n")
    project.write("proj/celery.py", _APP.replace('["proj.tasks"]', '["proj.tasks", "proj.more"]'))
    project.commit()
    project.write("proj/celery.py", _APP)
    assert project.verdicts() == {"proj.tasks.f": "safe", "proj.more.g": "cannot tell"}


def test_another_app_beside_this_one_is_left_out(project: Project) -> None:
    project.tasks("@app.task\ndef f(a): ...")
    project.write("../other/app.py", "@app.task\ndef g(a): ...\n")
    project.commit()
    project.change_elsewhere()
    assert project.verdicts() == {"proj.tasks.f": "safe"}


def test_what_cannot_be_told_fails_where_it_is_asked_to(project: Project) -> None:
    project.tasks(UNREAD["proj.tasks.strange"])
    project.commit()
    project.change_elsewhere()
    told = project.check()
    assert (told.returncode, "proj.tasks.strange  cannot tell" in told.stdout) == (0, True)
    assert project.check("--fail-on", "order").returncode == 0
    assert project.check("--fail-on", "unknown").returncode == 1
    assert project.check("--github").stdout.startswith("::notice file=proj/tasks.py,line=")
