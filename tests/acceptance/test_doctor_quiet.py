"""The doctor raises no false alarm: on the examples of Celery, Flask and Django, and on ours, it warns of nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import VERSION

from tests import recipes, services

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_EXAMPLES = Path(__file__).parent.parent.parent / "examples"
_RECIPES = {each.name: each for each in recipes.recipes()}
_REDIS = {"REDIS_URL": "redis://localhost:6379/0"}
_RABBITMQ = {"CELERY_BROKER_URL": "amqp://guest:guest@localhost//"}
#: What is in everybody's environment or machine, and no fault of an example.
_NOT_THEIRS = frozenset({"AC110"})


@dataclass(frozen=True)
class Example:
    """A project as its authors wrote it: where, what follows ``-A``, and the variables that its readme asks for."""

    folder: str
    app: str
    variables: Mapping[str, str] = field(default_factory=dict)
    recipe: str = "celery-next-steps"

    @property
    def name(self) -> str:
        """For the test's id."""
        return f"{self.recipe.partition('-')[0]}-{Path(self.folder).name}"


#: gevent, resultgraph and celery_http_gateway import names that Celery 5 does not have, security has a certificate
#: that is past its date, and eventlet has no app.
_OF_OTHERS = [
    Example("examples/app", "myapp"),
    Example("examples/next-steps", "proj"),
    Example("examples/tutorial", "tasks"),
    Example("examples/periodic-tasks", "myapp"),
    Example("examples/stamping", "myapp"),
    Example("examples/django", "proj"),
    Example("examples/celery", "make_celery", {"PYTHONPATH": "src"}, "flask-celery"),
]
_OURS = [
    ("django", "shop", {"SECRET_KEY": "x"}),
    ("flask", "make_celery", {}),
    ("fastapi", "shop.celery", {}),
    ("forecast", "forecast", {}),
]


def alarms(folder: Path, app: str, variables: Mapping[str, str]) -> list[str]:
    """Return what the doctor warns of, of a project in ``folder``."""
    command = [sys.executable, "-m", "autocelery", "-A", app, "doctor", "--offline", "--json"]
    plain = {name: value for name, value in os.environ.items() if name not in {**_REDIS, **_RABBITMQ}}
    shown = subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, env={**plain, **variables}
    )
    assert shown.returncode in (0, 1), shown.stderr
    found: list[dict[str, Any]] = json.loads(shown.stdout)
    return [
        f"{each['code']} {each['where']}: {each['message']}"
        for each in found
        if each["level"] != "info" and each["code"] not in _NOT_THEIRS
    ]


def put_in_place(example: Example, folder: Path) -> Path:
    """Return where the example is, below ``folder``."""
    recipe = _RECIPES[example.recipe]
    services.need("PyPI", "PIP_INDEX_URL", lambda: recipes.fetch([recipe]), (recipes.NoIndex,))
    with tarfile.open(recipe.sdist[0].archive) as archive:
        for member in archive.getmembers():
            inside = member.name.partition("/")[2]
            if inside.startswith(f"{example.folder}/"):
                archive.extract(member.replace(name=inside, deep=False), folder, filter="data")
    return folder / example.folder


@pytest.mark.parametrize("example", _OF_OTHERS, ids=lambda example: example.name)
def test_the_examples_of_celery_flask_and_django_hear_no_alarm(example: Example, tmp_path: Path) -> None:
    assert alarms(put_in_place(example, tmp_path), example.app, example.variables) == []


@pytest.mark.skipif(VERSION < (5, 5), reason="quorum queues do not work before Celery 5.5")
def test_celery_s_example_of_quorum_queues_hears_no_alarm(
    tmp_path: Path, rabbitmq_vhost: services.RabbitMQ
) -> None:
    folder = put_in_place(Example("examples/quorum-queues", "myapp"), tmp_path)
    declares = folder / "declare_queue.py"  # as it is imported, on RabbitMQ's default vhost
    declares.write_text(declares.read_text().replace("amqp://guest@localhost//", rabbitmq_vhost.url))
    assert alarms(folder, "myapp", {}) == []


@pytest.mark.parametrize("broker", [_REDIS, _RABBITMQ], ids=["redis", "rabbitmq"])
@pytest.mark.parametrize(("name", "app", "variables"), _OURS, ids=[each[0] for each in _OURS])
def test_our_examples_and_the_presets_hear_no_alarm(
    name: str, app: str, variables: dict[str, str], broker: dict[str, str], autocelery_home: Path
) -> None:
    assert alarms(_EXAMPLES / name, app, {**variables, **broker}) == []


@pytest.mark.parametrize(("name", "app"), [("django", "shop"), ("flask", "make_celery")])
def test_a_preset_without_a_broker_hears_no_alarm(name: str, app: str, autocelery_home: Path) -> None:
    assert alarms(_EXAMPLES / name, app, {"FLASK_DEBUG": "1"}) == []
