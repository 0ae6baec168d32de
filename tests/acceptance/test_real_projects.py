"""Real projects from PyPI, of every layout, called live with no configuration on a worker that has none of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import recipes, services
from tests.conftest import remove_tree
from tests.recipes import Project, Recipe
from tests.shops import own_server, stop_worker
from tests.workers import Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_ALL = recipes.recipes()
#: Each third of them; `make stress` has ``REAL_PROJECTS=all``.
_RECIPES = _ALL if os.environ.get("REAL_PROJECTS") == "all" else _ALL[::3]
_DEPLOYED = """
from celery import Celery
from autocelery import Autocelery
app = Celery("deployed")
auto = Autocelery(app)
"""
#: What a project's user does: look at the plan, call, edit, call again. It answers with what came of each.
_USER = """
import importlib, json, operator, sys
from autocelery._publish import planning

def named(text):
    module, _, path = text.partition(":")
    return operator.attrgetter(path)(importlib.import_module(module))

order = json.loads(sys.stdin.readline())
auto = named(order["app"])
auto.app.loader.import_default_modules()  # as every command does; it is what sets Django up
function = named(order["function"])
def call():
    print(json.dumps(auto.live(function).delay(*order["args"]).get(timeout=120)), flush=True)

call()
for patience in (1.0, 5.0, 20.0):
    planned = planning.plan(auto, patience)
    if planned.workers:
        break
problems = [[each.level, each.what, each.mend] for each in planned.problems]
print(json.dumps({"problems": problems, "files": planned.files}), flush=True)
sys.stdin.readline()
call()
"""


@dataclass(frozen=True)
class Deployed:
    """A worker whose own code is an app without tasks, and the variables that lead to its broker."""

    worker: Worker
    variables: dict[str, str]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One stock worker for all projects, with what they need downloaded."""
    services.need("PyPI", "PIP_INDEX_URL", lambda: recipes.fetch(_RECIPES), (recipes.NoIndex,))
    folder = tmp_path_factory.mktemp("deployed")
    with ExitStack() as owned:
        server = own_server(owned)
        variables = {
            "CELERY_BROKER_URL": server.broker_url,
            "CELERY_RESULT_BACKEND": server.result_backend,
            "AUTOCELERY_HOME": str(folder / "home"),
        }
        owned.callback(remove_tree, folder / "home")
        (folder / "code").mkdir()
        (folder / "code" / "deployed.py").write_text(_DEPLOYED)
        settings = {**recipes.uv_settings(), **variables}
        worker = Worker(folder / "code", "deployed", "deployed", "-c", "2", "--without-heartbeat", **settings)
        owned.callback(stop_worker, worker)
        yield Deployed(worker.start(), variables)


def called_and_edited(project: Project, variables: dict[str, str]) -> tuple[Any, dict[str, Any], Any]:
    """Return the answer before the edit, the plan, and the answer after it."""
    recipe = project.recipe
    order = {"app": recipe.app, "function": recipe.call["function"], "args": recipe.call["args"]}
    user = subprocess.Popen(
        [str(project.python), "-c", _USER],
        cwd=project.cwd,
        env={**os.environ, **variables, **project.variables()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert user.stdin is not None
    assert user.stdout is not None
    user.stdin.write(json.dumps(order) + "\n")
    user.stdin.flush()
    first, planned = user.stdout.readline(), user.stdout.readline()
    if planned:
        recipes.edit(project)
    second, said = user.communicate("go on\n" if planned else None)
    assert user.returncode == 0, said
    return json.loads(first), json.loads(planned), json.loads(second)


@pytest.mark.parametrize("recipe", _RECIPES, ids=lambda recipe: recipe.name)
def test_a_real_project_runs_live_as_it_is_edited_and_plan_raises_no_false_alarm(
    recipe: Recipe, deployed: Deployed, tmp_path: Path
) -> None:
    pids = deployed.worker.pids()
    project = recipes.put_in_place(recipe, tmp_path)
    before, planned, after = called_and_edited(project, deployed.variables)
    assert before == recipe.call.get("answer")
    assert after == recipe.edit["answer"]
    told = [f"{level}: {what} {mend}" for level, what, mend in planned["problems"]]
    unexpected = [each for each in told if not any(word in each for word in recipe.says)]
    assert unexpected == []
    assert all(any(word in each for each in told) for word in recipe.says)
    assert deployed.worker.pids() == pids


def test_the_recipes_are_of_every_layout() -> None:
    assert len(_ALL) >= 20
    layouts = {recipe.name.partition("-")[0] for recipe in _ALL}
    assert layouts >= {"data", "django", "editable", "extension", "files", "flask", "flat", "names", "namespace",
                       "scripts", "shared", "src", "submodule", "workspace"}  # fmt: skip
