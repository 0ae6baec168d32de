"""A live call runs with what the project's lock says: its versions, the very files, and the folders that it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from autocelery.errors import LockInvalid, PackageAltered
from tests.shops import Caller, Shop, own_shop
from tests.unit.locks.making import Index, install
from tests.workers import Worker

pytestmark = pytest.mark.slow

_TASKS = """
from shop.celery import app

@app.task
def greet():
    import greeting
    return greeting.VERSION

@app.task
def rates():
    import rates
    return rates.RATE
"""
_PROJECT = """
[project]
name = "shop"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["greeting<2"{more}]
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    index = Index(tmp_path_factory.mktemp("index") / "simple")
    index.add("politeness", "1.0")
    for version in ("1.0", "2.0"):
        index.add("greeting", version, "politeness")
    return index


@pytest.fixture(scope="module")
def shop(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        shop = own_shop(
            owned,
            tmp_path_factory.mktemp("shop"),
            UV_DEFAULT_INDEX=index.folder.as_uri(),
            UV_CACHE_DIR=str(tmp_path_factory.mktemp("uv")),
        )
        shop.write("tasks.py", _TASKS)
        yield shop


@pytest.fixture(scope="module")
def worker(shop: Shop) -> Worker:
    return shop.worker("locked", "-c", "1")


@pytest.fixture(autouse=True)
def lock(shop: Shop, index: Index) -> Path:
    """The lock of the project, as uv writes it: with greeting 1.0."""
    (shop.top / "pyproject.toml").write_text(_PROJECT.format(more=""))
    index.uv("lock", cwd=shop.top)
    return shop.top / "uv.lock"


@pytest.fixture(scope="module")
def site(index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where another version than the lock's is installed, at the caller."""
    folder = tmp_path_factory.mktemp("site")
    install(index, folder, "greeting-2.0", "politeness-1.0")
    return folder


@pytest.fixture
def caller(shop: Shop, worker: Worker, site: Path) -> Caller:
    return shop.caller(PYTHONPATH=str(site))


def test_the_version_of_the_lock_runs_and_plan_says_that_another_is_installed(
    shop: Shop, worker: Worker, caller: Caller, site: Path
) -> None:
    told = plan(shop, site)
    assert told["lock"] == {"source": "uv.lock", "pins": 2}
    [problem] = [each for each in told["problems"] if "uv.lock" in each["what"]]
    assert "greeting 1.0 (2.0 here)" in problem["what"]
    assert "uv sync" in problem["mend"]
    assert caller.do("__import__('greeting').VERSION") == "2.0"
    assert shop.result(caller.send("greet")) == "1.0"


def test_a_lock_that_changes_is_the_next_calls(
    shop: Shop, worker: Worker, caller: Caller, index: Index
) -> None:
    assert shop.result(caller.send("greet")) == "1.0"
    text = (shop.top / "pyproject.toml").read_text()
    (shop.top / "pyproject.toml").write_text(text.replace("greeting<2", "greeting>=2"))
    with pytest.raises(LockInvalid, match=r"uv\.lock has greeting 1\.0.*asks for greeting>=2.*uv lock"):
        caller.send("greet")
    index.uv("lock", cwd=shop.top)
    assert shop.result(caller.send("greet")) == "2.0"


def test_a_package_that_is_not_the_locked_one_is_refused_and_both_hashes_are_named(
    shop: Shop, worker: Worker, caller: Caller, index: Index, lock: Path
) -> None:
    right, wrong = index.hash_of("greeting", "1.0"), "sha256:" + "a" * 64
    lock.write_text(lock.read_text().replace(right, wrong))
    with pytest.raises(PackageAltered) as caught:
        shop.result(caller.send("greet"))
    for part in ("greeting==1.0", f"its hash is {right}", f"admits {wrong}", "The lock is uv.lock"):
        assert part in caught.value.message


def test_a_folder_that_the_lock_names_travels_as_code_though_it_is_not_installed(
    shop: Shop, worker: Worker, caller: Caller, index: Index
) -> None:
    lib = shop.top.parent / "rates"
    (lib / "src" / "rates").mkdir(parents=True)
    (lib / "pyproject.toml").write_text('[project]\nname = "rates"\nversion = "1.0"\n')
    (lib / "src" / "rates" / "__init__.py").write_text("RATE = 1\n")
    more = '[tool.uv.sources]\nrates = { path = "../rates", editable = true }\n'
    (shop.top / "pyproject.toml").write_text(_PROJECT.format(more=', "rates"') + more)
    index.uv("lock", cwd=shop.top)
    assert shop.result(caller.send("rates")) == 1
    (lib / "src" / "rates" / "__init__.py").write_text("RATE = 22\n")
    assert shop.result(caller.send("rates")) == 22
    lib.rename(lib.with_name("gone"))
    with pytest.raises(LockInvalid, match=r"uv\.lock takes rates from .*rates, which is not there"):
        caller.send("rates")


def plan(shop: Shop, site: Path) -> dict[str, list[dict[str, str]]]:
    command = [sys.executable, "-m", "autocelery", "-A", "shop", "plan", "--json", "--timeout", "3"]
    environment = {**os.environ, **shop.environment, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=shop.top, env=environment, capture_output=True, text=True, check=False)
    found: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return found
