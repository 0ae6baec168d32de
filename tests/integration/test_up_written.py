"""What ``autocelery up --write`` prints, given to those who read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from autocelery._up import writing
from autocelery._up.plan import Plan
from autocelery._up.reading import plan_of
from tests.services import lack, need
from tests.shops import is_alive
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

TABLE = f"""
[queues]
hello = {{ tasks = ["proj.tasks.say_hello"], workers = 2 }}
reports = {{ tasks = ["proj.reports.*"], priority = 3 }}
[up]
app = "proj"
beat = true
[up.workers.big]
queues = ["celery"]
memory_limit = "1g"
environment = {{ GREETING = "100% \\"so called\\" $HOME" }}
[up.processes.web]
command = ["{sys.executable}", "-c", "import time; time.sleep(600 % 1000)"]
after = ["worker_big"]
stop_seconds = 5
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    path = tmp_path / "autocelery.toml"
    path.write_text(TABLE)
    return plan_of(path)


def test_systemd_finds_nothing_wrong_with_the_units(plan: Plan, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        lack("systemd-analyze is not installed")
    units = re.split(r"^# (\S+\.service)$", writing.systemd(plan), flags=re.MULTILINE)[1:]
    folder = tmp_path / "units"
    folder.mkdir()
    paths = []
    for name, text in zip(units[::2], units[1::2], strict=True):
        paths.append(folder / name)
        paths[-1].write_text(text)
    assert [each.stem for each in paths] == [each.name for each in plan.processes]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *map(str, paths)], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if any(each.name in line for each in paths)]
    assert about_ours == []


def test_a_unit_has_what_up_would_give_the_process(plan: Plan) -> None:
    text = writing.systemd(plan)
    assert r'Environment="GREETING=100%% \"so called\" $HOME"' in text, "systemd replaces nothing else there"
    assert f'Environment="PATH={Path(sys.prefix, "bin")}:' in text
    commands = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert all(Path(each).is_absolute() for each in commands)


def test_supervisord_runs_the_sections(plan: Plan, tmp_path: Path) -> None:
    place = tmp_path / "supervisord.conf"
    head = f"[supervisord]\nnodaemon=true\nlogfile={tmp_path}/log\npidfile={tmp_path}/pid\nchildlogdir={tmp_path}\n"
    others = re.sub(
        r"^(\[program:(?!web\]).*)$", r"\1\nautostart=false", writing.supervisord(plan), flags=re.MULTILINE
    )
    assert others.count("autostart=false") == len(plan.processes) - 1
    place.write_text(head + others)
    running = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(place)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        [web] = wait_for(lambda: psutil.Process(running.pid).children(), what="supervisord has started it")
        wait_for(lambda: "time.sleep(600 % 1000)" in " ".join(web.cmdline()), what="it is the process")
    finally:
        running.terminate()
        running.wait(60)
    assert not is_alive(web.pid)


@pytest.fixture(scope="module")
def compose_schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema of the Compose Specification, as docker-compose 1.29.2 on PyPI has it."""
    folder = tmp_path_factory.mktemp("compose")
    command = ["pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "docker-compose==1.29.2"]

    def download() -> None:
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True, timeout=120)

    need("PyPI", "PIP_INDEX_URL", download, (subprocess.SubprocessError,))
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        return json.loads(opened.read("compose/config/compose_spec.json"))


def test_compose_finds_nothing_wrong_with_its_file(plan: Plan, compose_schema: Any) -> None:
    validator = jsonschema.Draft7Validator(compose_schema)
    assert [each.message for each in validator.iter_errors(json.loads(writing.compose(plan)))] == []
    assert list(validator.iter_errors({"services": {"web": {"nonsense": 1}}}))


def test_compose_gets_a_service_for_each(plan: Plan) -> None:
    services = json.loads(writing.compose(plan))["services"]
    assert list(services) == [each.name for each in plan.processes]
    assert services["worker_big"]["environment"]["GREETING"] == '100% "so called" $$HOME'
    assert services["web"]["command"][0] == "python"
    assert services["web"]["depends_on"] == ["worker_big"]
    assert (services["web"]["stop_grace_period"], services["worker_big"]["mem_limit"]) == ("5s", 1 << 30)
