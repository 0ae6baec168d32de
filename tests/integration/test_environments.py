"""A live call has the packages of where it was sent from: a worker builds what it lacks, once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest

from autocelery._hosting.by_environment import KEPT
from autocelery.errors import (
    ConfigurationError,
    EnvironmentMismatch,
    EnvironmentNotBuilt,
    LockInvalid,
    PackageMissing,
)
from tests.shops import Caller, Shop, family_of, is_alive, own_shop, stop_worker
from tests.waiting import wait_for
from tests.wheels import installed, make_wheel
from tests.workers import Worker

pytestmark = pytest.mark.slow

_TASKS = """
import autocelery
from shop.celery import app

@app.task
def greet():
    import greeting
    return greeting.greet()

@app.task
def where():
    import os, subprocess, sys
    import greeting
    command = [sys.executable, "-c", "import greeting; print(greeting.VERSION)"]
    return [greeting.__file__, subprocess.run(command, capture_output=True, text=True).stdout.strip()]

@app.task
def parts():
    import spaced.one, spaced.two
    return [spaced.one.__name__, spaced.two.__name__]

@app.task
def add(x, y):
    return x + y
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: two versions of a package, and what it needs."""
    folder = tmp_path_factory.mktemp("index")
    make_wheel(folder, "politeness", "1.0", {"politeness.py": "WORD = 'hello'\n"})
    for version, mark in (("1.0", "."), ("2.0", "!")):
        source = (
            f"import politeness\nVERSION = {version!r}\ndef greet():\n    return politeness.WORD + {mark!r}\n"
        )
        make_wheel(folder, "greeting", version, {"greeting.py": source}, requires=["politeness>=1"])
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
        shop.write("tasks.py", _TASKS)
        yield shop


@pytest.fixture(scope="module")
def worker(shop: Shop) -> Worker:
    return shop.worker("bare", "-c", "2")


def caller_with(shop: Shop, index: Path, folder: Path, *wheels: str) -> Caller:
    """Start a caller in whose environment those wheels are installed too."""
    site = installed([index / f"{wheel}-py3-none-any.whl" for wheel in wheels], folder)
    return shop.caller(PYTHONPATH=str(site))


@pytest.fixture(scope="module")
def caller(shop: Shop, worker: Worker, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    return caller_with(shop, index, tmp_path_factory.mktemp("site"), "greeting-1.0", "politeness-1.0")


def state_of_site_packages() -> dict[str, tuple[int, int]]:
    folder = Path(sysconfig.get_path("purelib"))
    return {
        str(each): (each.stat().st_size, each.stat().st_mtime_ns)
        for each in folder.rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }


def test_a_package_that_only_the_caller_has_is_there_in_a_live_call(
    shop: Shop, worker: Worker, caller: Caller
) -> None:
    before = state_of_site_packages()
    assert shop.result(caller.send("greet")) == "hello."
    file, version_in_a_subprocess = shop.result(caller.send("where"))
    assert Path(file).is_relative_to(shop.home)
    assert version_in_a_subprocess == "1.0"
    assert state_of_site_packages() == before


def test_two_versions_of_a_package_run_side_by_side(
    shop: Shop, worker: Worker, caller: Caller, index: Path, tmp_path: Path
) -> None:
    other = caller_with(shop, index, tmp_path, "greeting-2.0", "politeness-1.0")
    calls = [who.send("greet") for _ in range(5) for who in (caller, other)]
    assert [shop.result(each) for each in calls] == ["hello.", "hello!"] * 5


def test_a_call_may_ask_for_a_package_that_neither_the_project_nor_the_caller_has(
    shop: Shop, worker: Worker, index: Path
) -> None:
    plain = shop.caller(UV_NO_INDEX="1", UV_FIND_LINKS=str(index))
    sent = "auto.live(tasks.greet, packages=[{!r}]).delay().id"
    calls = [plain.do(sent.format(f"greeting=={version}.*")) for version in (1, 2, 1)]
    assert [shop.result(each) for each in calls] == ["hello.", "hello!", "hello."]
    by_value = "auto.live(lambda: __import__('greeting').VERSION, packages=['greeting<2']).delay().id"
    assert shop.result(plain.do(by_value)) == "1.0"
    with pytest.raises(ModuleNotFoundError, match="greeting"):
        shop.result(plain.send("greet"))


@pytest.mark.parametrize(
    ("sent", "refused"),
    [
        ("tasks.greet, packages=['greeting>=9']", LockInvalid),
        ("tasks.greet, packages='greeting'", ConfigurationError),
        ("auto.snapshot(), packages=['greeting']", ConfigurationError),
        ("tasks.greet.using(auto.snapshot()), packages=['greeting']", ConfigurationError),
    ],
)
def test_packages_that_cannot_be_had_are_refused_before_anything_is_sent(
    shop: Shop, caller: Caller, sent: str, refused: type[Exception]
) -> None:
    with pytest.raises(refused):
        caller.do(f"auto.live({sent}).delay().id")


def test_a_package_that_the_worker_itself_has_loaded_is_replaced_in_hosts_only(
    shop: Shop, worker: Worker, index: Path, tmp_path: Path
) -> None:
    theirs = [index / f"{each}-py3-none-any.whl" for each in ("greeting-1.0", "politeness-1.0")]
    shop.write("tasks.py", f"import greeting\n{_TASKS}")
    try:
        site = installed(theirs, tmp_path / "worker")
        loaded = shop.worker("loaded", "-c", "1", "-Q", "loaded", PYTHONPATH=str(site))
        caller = caller_with(shop, index, tmp_path / "caller", "greeting-2.0", "politeness-1.0")
        assert shop.result(caller.send("greet", queue="loaded")) == "hello!"
        assert shop.result(caller.do("tasks.greet.apply_async(queue='loaded').id")) == "hello."
        assert shop.result(caller.send("where", queue="loaded"))[1] == "2.0"
        stop_worker(loaded)
    finally:
        shop.write("tasks.py", _TASKS)


def test_all_who_ask_at_once_for_an_environment_wait_for_one_build(
    shop: Shop, index: Path, tmp_path: Path
) -> None:
    crowd = shop.worker("crowd", "-P", "threads", "-c", "20", "-Q", "crowd")
    caller = caller_with(shop, index, tmp_path, "greeting-2.0", "politeness-1.0")
    calls = [caller.send("greet", queue="crowd") for _ in range(20)]
    assert [shop.result(each) for each in calls] == ["hello!"] * 20
    assert crowd.text().count("Built environment") == 1
    stop_worker(crowd)


def test_what_cannot_be_installed_is_named_and_the_next_call_runs(
    shop: Shop, worker: Worker, caller: Caller, index: Path, tmp_path: Path
) -> None:
    source = {"greeting.py": "VERSION = '3.0'\ndef greet():\n    return 'nowhere'\n"}
    private = make_wheel(tmp_path / "private", "greeting", "3.0", source)
    lonely = shop.caller(PYTHONPATH=str(installed([private], tmp_path / "site")))
    with pytest.raises(EnvironmentNotBuilt, match=r"greeting==3\.0"):
        shop.result(lonely.send("greet"))
    assert shop.result(caller.send("greet")) == "hello."


def test_what_the_workers_celery_cannot_run_with_is_refused_before_anything_runs(
    shop: Shop, worker: Worker, index: Path, tmp_path: Path
) -> None:
    old = make_wheel(
        tmp_path / "old", "click", "0.1", {"click.py": "raise ImportError('never to be imported')\n"}
    )
    greeting = make_wheel(
        tmp_path / "old", "greeting", "9.0", {"greeting.py": "VERSION = '9.0'\n"}, requires=["click"]
    )
    place = installed([old, greeting], tmp_path / "site")
    (place / "click.py").unlink()  # the caller itself goes on with the click that works
    with pytest.raises(EnvironmentMismatch, match=r"needs click.*the snapshot has click 0\.1"):
        shop.result(shop.caller(PYTHONPATH=str(place)).send("greet"))


def test_a_project_may_ask_for_the_workers_own_packages(
    shop: Shop, worker: Worker, index: Path, tmp_path: Path
) -> None:
    settings = shop.top / "pyproject.toml"
    settings.write_text('[tool.autocelery]\nenvironment = "worker"\n')
    try:
        caller = caller_with(shop, index, tmp_path, "greeting-1.0", "politeness-1.0")
        with pytest.raises(PackageMissing, match=r"greeting 1\.0"):
            shop.result(caller.send("greet"))
    finally:
        settings.unlink()


def test_a_worker_may_be_forbidden_to_build(shop: Shop, caller: Caller) -> None:
    strict = shop.worker("strict", "-c", "1", "-Q", "strict", AUTOCELERY_ENV_POLICY="never")
    with pytest.raises(PackageMissing, match=r"greeting 1\.0"):
        shop.result(caller.send("greet", queue="strict"))
    assert shop.result(caller.send("add", 1, 2, queue="strict")) == 3
    stop_worker(strict)


def test_plan_says_what_each_worker_would_build(
    shop: Shop, worker: Worker, index: Path, tmp_path: Path
) -> None:
    strict = shop.worker("forbidden", "-c", "1", "-Q", "forbidden", AUTOCELERY_ENV_POLICY="never")
    newest = make_wheel(index, "greeting", "5.0", {"greeting.py": ""}, requires=["politeness"])
    wheels = [newest, index / "politeness-1.0-py3-none-any.whl"]
    site = installed(wheels, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "autocelery", "-A", "shop", "plan", "--json", "--timeout", "3"],
        cwd=shop.top,
        env={**os.environ, **shop.environment, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(done.stdout)
    states = {each["hostname"]: each["state"] for each in told["environments"]}
    assert states == {worker.hostname: "to be built", strict.hostname: "impossible"}
    [built] = [each for each in told["environments"] if each["state"] == "to be built"]
    assert {each["name"]: each["version"] for each in built["packages"]} == {
        "greeting": "5.0",
        "politeness": "1.0",
    }
    assert (built["size"], built["source"]) == (sum(each.stat().st_size for each in wheels), str(index))
    [problem] = [each for each in told["problems"] if "greeting" in each["what"]]
    assert problem["level"] == "warning"
    assert f"{strict.hostname} lacks greeting==5.0" in problem["what"]
    stop_worker(strict)


def test_a_worker_that_starts_again_has_its_environments(
    shop: Shop, worker: Worker, caller: Caller, tmp_path: Path
) -> None:
    first = shop.worker("again", "-c", "1", "-Q", "again")
    assert shop.result(caller.send("greet", queue="again")) == "hello."
    stop_worker(first)
    [folder] = shop.home.glob("cache/worker/again@*/environments")
    (folder / ".scratch" / "half-built").mkdir(parents=True)
    built = {each.name: each.stat().st_ino for each in folder.iterdir() if each.name != ".scratch"}
    second = shop.worker("again", "-c", "1", "-Q", "again", UV_FIND_LINKS=str(tmp_path))
    assert shop.result(caller.send("greet", queue="again")) == "hello."
    assert {each.name: each.stat().st_ino for each in folder.iterdir() if each.name != ".scratch"} == built
    assert not list(folder.glob(".scratch/*"))
    stop_worker(second)


def test_more_environments_than_zygotes_are_kept_run_at_once_and_leave_no_process(
    shop: Shop, index: Path, tmp_path: Path
) -> None:
    many = shop.worker("many", "-P", "threads", "-c", "14", "-Q", "many", AUTOCELERY_WARM_HOSTS="1")
    callers = {}
    for number in range(10, 17):
        source = {"greeting.py": f"def greet():\n    return {number}\n"}
        wheel = make_wheel(index, "greeting", f"{number}.0", source)
        site = installed([wheel], tmp_path / str(number))
        callers[number] = shop.caller(PYTHONPATH=str(site))
    for edit in range(3):
        shop.write("edited.py", f"EDIT = {edit}\n")
        calls = [(each, callers[each].send("greet", queue="many")) for _ in range(2) for each in callers]
        assert [shop.result(call, 60) for _, call in calls] == [each for each, _ in calls]
    wait_for(lambda: len(family_of(many.pid).zygotes) <= KEPT + 2, what="what is not kept has ended")
    stop_worker(many)


def test_both_parts_of_a_namespace_package_are_there(
    shop: Shop, worker: Worker, index: Path, tmp_path: Path
) -> None:
    wheels = [
        make_wheel(index, f"spaced_{part}", "1.0", {f"spaced/{part}.py": ""}) for part in ("one", "two")
    ]
    caller = shop.caller(PYTHONPATH=str(installed(wheels, tmp_path)))
    assert shop.result(caller.send("parts")) == ["spaced.one", "spaced.two"]


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_worker_that_ends_during_a_build_leaves_no_process(shop: Shop, tmp_path: Path, how: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        ending = shop.worker("ending", "-c", "1", "-Q", "ending", UV_NO_INDEX="", UV_DEFAULT_INDEX=address)
        wheel = make_wheel(tmp_path / "private", "greeting", "77.0", {"greeting.py": ""})
        caller = shop.caller(PYTHONPATH=str(installed([wheel], tmp_path / "site")))
        caller.send("greet", queue="ending")
        build = wait_for(lambda: [each for each in ending.everything() if _is_uv(each)], what="it is built")
        os.kill(ending.pid, signal.SIGQUIT if how == "stopped" else signal.SIGKILL)
        wait_for(lambda: not any(is_alive(each.pid) for each in build), what="the build has ended")
        stop_worker(ending)


def _is_uv(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return Path(process.exe()).name == "uv"
    return False
