"""An environment that stands alone has the snapshot's own Celery and Python, and nothing of the worker's packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from autocelery.errors import EnvironmentMismatch
from tests.integration.test_environments import state_of_site_packages
from tests.shops import Caller, Shop, own_shop, stop_worker
from tests.wheels import installed, make_wheel, runtime_index
from tests.workers import Worker

pytestmark = pytest.mark.slow

TASKS = """
import json, os, subprocess, sys
import celery
from celery import chord
from shop.celery import app
import greeting

class Unlucky(Exception):
    "Raised where it is meant to be."

@app.task
def who():
    code = "import sys, celery; print(celery.__version__, sys.prefix, any('@worker' in each for each in sys.path))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return {
        "greeting": greeting.VERSION,
        "celery": celery.__version__,
        "python": "%d.%d" % sys.version_info[:2],
        "path": sys.path,
        "files": sorted({str(getattr(each, "__file__", "")) for each in sys.modules.values()}),
        "prefix": sys.prefix,
        "child": child.stdout.split() or child.stderr,
    }

@app.task(bind=True, max_retries=3)
def persist(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return [self.request.retries, celery.__version__]

@app.task
def add(x, y):
    return x + y

@app.task
def total(numbers):
    return [sum(numbers), celery.__version__]

@app.task(bind=True)
def fan_out(self):
    return self.replace(chord([add.s(number, number) for number in range(4)], total.s()))

@app.task
def fail():
    raise Unlucky("as expected")
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: what Celery and autocelery consist of here, and two versions of a package."""
    folder = tmp_path_factory.mktemp("index")
    runtime_index(folder, "redis")
    for version in ("1.0", "2.0"):
        make_wheel(folder, "greeting", version, {"greeting.py": f"VERSION = {version!r}\n"})
    return folder


@pytest.fixture(scope="module")
def shop(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        shop = own_shop(
            owned,
            tmp_path_factory.mktemp("shop"),
            UV_NO_INDEX="1",
            UV_FIND_LINKS=str(index),
            UV_CACHE_DIR=str(tmp_path_factory.mktemp("uv")),
        )
        shop.write("tasks.py", TASKS)
        (shop.top / "pyproject.toml").write_text('[tool.autocelery]\nenvironment = "own"\n')
        yield shop


@pytest.fixture(scope="module")
def worker(shop: Shop, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker whose own packages are others, one of them with a .pth file's doing in every process."""
    site = installed([index / "greeting-2.0-py3-none-any.whl"], tmp_path_factory.mktemp("site") / "@worker")
    return shop.worker("plain", "-c", "2", PYTHONPATH=str(site))


@pytest.fixture(scope="module")
def caller(shop: Shop, worker: Worker, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    site = installed([index / "greeting-1.0-py3-none-any.whl"], tmp_path_factory.mktemp("site"))
    return shop.caller(PYTHONPATH=str(site))


def test_nothing_of_the_workers_packages_is_there(shop: Shop, worker: Worker, caller: Caller) -> None:
    before = state_of_site_packages()
    told = shop.result(caller.send("who"), 120)
    assert told["greeting"] == "1.0"
    assert Path(told["prefix"]).is_relative_to(shop.home)
    assert told["child"] == [told["celery"], told["prefix"], "False"]
    worker_s = [each for each in (*told["path"], *told["files"]) if _is_of_the_worker(each)]
    assert worker_s == []
    assert state_of_site_packages() == before


def _is_of_the_worker(path: str) -> bool:
    return "@worker" in path or path.startswith((sys.prefix, str(Path(__file__).parents[2] / "src")))


def test_retries_chords_and_errors_come_out_as_ever(shop: Shop, worker: Worker, caller: Caller) -> None:
    calls = {name: caller.send(name) for name in ("persist", "fan_out", "fail")}
    assert shop.result(calls["persist"], 60)[0] == 2
    assert shop.result(calls["fan_out"], 60)[0] == 12
    with pytest.raises(Exception, match="as expected") as raised:
        shop.result(calls["fail"], 60)
    assert type(raised.value).__name__ == "Unlucky"


def test_another_edit_needs_no_other_environment(shop: Shop, worker: Worker, caller: Caller) -> None:
    shop.write("edited.py", "EDIT = 1\n")
    assert shop.result(caller.send("add", 1, 2), 60) == 3
    assert worker.text().count("Built environment") == 1


def test_plan_says_what_stands_alone_and_what_could_not(
    shop: Shop, worker: Worker, caller: Caller, index: Path, tmp_path: Path
) -> None:
    told = "[[e.hostname, e.state, e.is_alone, e.size, e.why] for e in {0}.environments]"
    imported = "__import__('importlib').import_module('autocelery._publish.planning').plan(auto)"
    shop.result(caller.send("add", 1, 2), 120)
    assert caller.do(told.format(imported)) == [[worker.hostname, "built", True, None, ""]]
    newer = make_wheel(tmp_path, "greeting", "3.0", {"greeting.py": "VERSION = '3.0'\n"})
    lonely = shop.caller(PYTHONPATH=str(installed([newer], tmp_path / "site")))
    [[_, state, is_alone, _, why]] = lonely.do(told.format(imported))
    assert (state, is_alone) == ("impossible", True)
    assert "greeting==3.0" in why


def test_a_worker_that_may_not_build_refuses_before_anything_runs(
    shop: Shop, caller: Caller, index: Path, tmp_path: Path
) -> None:
    site = installed([index / "greeting-2.0-py3-none-any.whl"], tmp_path)
    variables = {"AUTOCELERY_ENV_POLICY": "never", "PYTHONPATH": str(site)}
    strict = shop.worker("strict", "-c", "1", "-Q", "strict", **variables)
    with pytest.raises(EnvironmentMismatch, match='environment = "own"'):
        shop.result(caller.send("add", 1, 2, queue="strict"))
    stop_worker(strict)


def test_a_celery_that_hosts_do_not_run_with_is_refused_before_anything_is_built(
    shop: Shop, worker: Worker, tmp_path: Path
) -> None:
    info = make_wheel(tmp_path, "celery", "5.3.6", {"not_imported.py": ""})
    greeting = make_wheel(tmp_path, "greeting", "1.0", {"greeting.py": "VERSION = '1.0'\n"})
    old = shop.caller(PYTHONPATH=str(installed([info, greeting], tmp_path / "site")))
    with pytest.raises(EnvironmentMismatch, match=r"brings Celery 5\.3\.6"):
        shop.result(old.send("add", 1, 2))


def test_a_kombu_that_celery_cannot_run_with_is_refused_before_anything_runs(
    shop: Shop, worker: Worker, index: Path, tmp_path: Path
) -> None:
    make_wheel(index, "kombu", "4.6.11", {"kombu/__init__.py": "raise ImportError('never to be imported')"})
    told = make_wheel(tmp_path, "kombu", "4.6.11", {"not_imported.py": ""}, requires=["amqp", "vine"])
    greeting = make_wheel(tmp_path, "greeting", "1.0", {"greeting.py": "VERSION = '1.0'\n"})
    mixed = shop.caller(PYTHONPATH=str(installed([told, greeting], tmp_path / "site")))
    with pytest.raises(EnvironmentMismatch, match=r"needs kombu.*snapshot has kombu 4\.6\.11"):
        shop.result(mixed.send("add", 1, 2))
