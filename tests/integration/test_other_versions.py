"""A snapshot's own Celery, and another minor version of Python, run on a worker with what it has. Needs an index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import celery
import pytest

from autocelery._env.interpreters import HERE, Interpreter, Interpreters
from autocelery.errors import PythonMismatch
from tests import services
from tests.integration.test_environments import state_of_site_packages
from tests.integration.test_own_environments import TASKS
from tests.shops import Shop, own_shop, stop_worker
from tests.workers import Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: A Celery that is not the one of these tests, whichever that is.
OTHER = "5.5.3" if not celery.__version__.startswith("5.5") else "5.6.2"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    services.need(
        "a package index",
        "UV_DEFAULT_INDEX",
        lambda: services.ask_package_index(tmp_path_factory.mktemp("probe")),
        (subprocess.SubprocessError,),
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        shop = own_shop(owned, tmp_path_factory.mktemp("shop"))
        shop.write("tasks.py", TASKS)
        shop.write("greeting.py", "")
        (shop.top / "greeting.py").write_text("VERSION = 'of the tree'\n")
        yield shop


@pytest.fixture(scope="module")
def worker(shop: Shop) -> Worker:
    return shop.worker("usual", "-c", "2")


@pytest.fixture
def own(shop: Shop) -> Iterator[None]:
    settings = shop.top / "pyproject.toml"
    settings.write_text('[tool.autocelery]\nenvironment = "own"\n')
    yield
    settings.unlink()


@pytest.fixture(scope="module")
def other_celery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with another Celery and what it needs."""
    folder = tmp_path_factory.mktemp("celery")
    uv("pip", "install", "--target", str(folder), f"celery[redis]=={OTHER}", "--python", sys.executable)
    return folder


@pytest.fixture(scope="module")
def other_interpreter() -> Interpreter:
    found = Interpreters()
    others = [found.get(minor) for minor in found.minors() if minor != HERE]
    if not others or others[0] is None:
        pytest.skip("there is one Python here only; install another beside it")
    return others[0]


@pytest.fixture(scope="module")
def other_python(other_interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program of a venv of another Python, with autocelery."""
    folder = tmp_path_factory.mktemp("venv")
    uv("venv", "--no-project", "--allow-existing", "--python", other_interpreter.path, str(folder))
    python = str(folder / "bin" / "python")
    uv("pip", "install", "--python", python, "-e", f"{REPOSITORY}[redis]")
    return python


def uv(*command: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *command, "--quiet"], check=True, cwd="/")


def test_the_snapshots_own_celery_runs_its_tasks(
    shop: Shop, worker: Worker, own: None, other_celery: Path
) -> None:
    caller = shop.caller(PYTHONPATH=str(other_celery))
    assert caller.do("__import__('celery').__version__") == OTHER
    assert shop.result(caller.send("who"), 180)["celery"] == OTHER
    calls = {name: caller.send(name) for name in ("persist", "fan_out", "fail")}
    assert shop.result(calls["persist"], 60) == [2, OTHER]
    assert shop.result(calls["fan_out"], 60) == [12, OTHER]
    with pytest.raises(Exception, match="as expected") as raised:
        shop.result(calls["fail"], 60)
    assert type(raised.value).__name__ == "Unlucky"


def test_a_worker_with_another_celery_runs_the_snapshots_own(
    shop: Shop, own: None, other_celery: Path
) -> None:
    older = shop.worker("older", "-c", "1", "-Q", "older", PYTHONPATH=str(other_celery))
    caller = shop.caller()
    assert shop.result(caller.send("who", queue="older"), 180)["celery"] == celery.__version__
    assert shop.result(caller.send("persist", queue="older"), 60) == [2, celery.__version__]
    assert f"v{OTHER}" in older.text() or OTHER in older.text()
    stop_worker(older)


def test_another_python_that_the_workers_machine_has_runs_what_was_made_with_it(
    shop: Shop, worker: Worker, other_interpreter: Interpreter, other_python: str
) -> None:
    before = state_of_site_packages()
    caller = shop.caller(other_python)
    told = caller.do(
        "[[e.state, e.is_alone, e.why] for e in __import__('importlib')"
        ".import_module('autocelery._publish.planning').plan(auto).environments]"
    )
    assert told == [["to be built", True, ""]]
    told = shop.result(caller.send("who"), 180)
    assert told["python"] == other_interpreter.minor
    assert [each for each in told["path"] if each.startswith(sys.prefix)] == []
    assert shop.result(caller.send("persist"), 60)[0] == 2
    assert shop.result(caller.do("auto.live(lambda x: x ** 2).delay(7).id"), 60) == 49
    assert state_of_site_packages() == before


def test_a_python_that_is_not_on_the_workers_machine_is_refused(
    shop: Shop, other_python: str, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "nowhere")
    bare = shop.worker(
        "bare", "-c", "1", "-Q", "bare", PATH=nowhere, PYENV_ROOT=nowhere, UV_PYTHON_INSTALL_DIR=nowhere
    )
    caller = shop.caller(other_python)
    with pytest.raises(PythonMismatch, match="is not on its machine"):
        shop.result(caller.send("add", 1, 2, queue="bare"))
    stop_worker(bare)
