"""The examples of Flask and FastAPI: their own tests, and their web app beside a worker, each a process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE, wait_for
from tests.workers import Worker

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=["flask", "fastapi"])
def example(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """Name and folder of a copy of the example."""
    folder = tmp_path / "tree"
    shutil.copytree(EXAMPLES / request.param, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return request.param, folder


@pytest.fixture
def environment(redis_url: str, redis_prefix: str) -> dict[str, str]:
    """A broker of its own, by prefix, as a machine in production says it."""
    return {"REDIS_URL": redis_url, "ENVIRONMENT": redis_prefix.strip(":")}


def test_its_own_tests_pass_without_a_worker_and_with_one(example: tuple[str, Path], redis_url: str) -> None:
    # Not ours: the kombu of Celery 5.4 with a newer redis.
    warnings = ("-W", "error", "-W", "ignore:Call to 'get_connection' function:DeprecationWarning")
    command = [sys.executable, "-m", "pytest", "-q", *warnings, "-o", f"autocelery_broker={redis_url}"]
    without = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    done = subprocess.run(command, cwd=example[1], env=without, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def served(name: str, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run the example's web app, as a process of its own, and yield its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    command = {
        "flask": ["flask", "--app", "shop", "run", "--port", port],
        "fastapi": ["uvicorn", "shop.main:app", "--port", port],
    }[name]
    with (folder.parent / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: is_open(port) or process.poll() is not None, what="the web app answers")
        assert process.poll() is None, (folder.parent / "web.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def is_open(port: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(port)), 1).close()
    except OSError:
        return False
    return True


def asked(address: str, given: Any = None) -> str:
    """Return what the web app answers."""
    content = json.dumps(given).encode() if given is not None else None
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return str(response.read().decode())


def test_it_runs_with_a_worker_as_in_production(
    example: tuple[str, Path], environment: dict[str, str]
) -> None:
    name, folder = example
    app = {"flask": "make_celery", "fastapi": "shop.celery"}[name]
    worker = Worker(folder, app, f"shop-{name}", "-P", "solo", **environment).start()
    try:
        with served(name, folder, environment) as address:
            order = json.loads(asked(f"{address}/orders", {"items": [["bread", 2]]}))["id"]
            if name == "flask":
                wait_for(
                    lambda: json.loads(asked(f"{address}/orders/{order}"))["price"] == 2.5,
                    what="it is priced",
                )
            else:
                bread = json.loads(asked(f"{address}/bread/3", {}))["id"]
                stream = asked(f"{address}/tasks/{bread}/events")
                told = [json.loads(each[6:]) for each in stream.splitlines() if each.startswith("data: ")]
                assert {"done": 3, "of": 3} in [each["progress"] for each in told]
                assert told[-1]["result"] == 3
                assert json.loads(asked(f"{address}/orders/{order}/price")) == {"price": 2.0}
    finally:
        worker.stop()


def test_it_runs_without_a_broker_for_development(example: tuple[str, Path]) -> None:
    name, folder = example
    without = {"FLASK_DEBUG": "0", "DEBUG": "1", "REDIS_URL": "", "CELERY_BROKER_URL": ""}
    if name == "flask":
        without["FLASK_DEBUG"] = "1"
    with served(name, folder, without) as address:
        order = json.loads(asked(f"{address}/orders", {"items": [["bread", 2]]}))["id"]
        where = f"/orders/{order}" if name == "flask" else f"/tasks/{order}"
        assert json.loads(asked(f"{address}{where}"))["state"] == "SUCCESS"
    log = (folder.parent / "web.log").read_text()
    assert log.count("No broker: tasks of shop run in this process") >= 1
