"""A shop: a small project with its own services, workers and callers, each of which may be killed at any time."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from celery import Celery
from celery.result import AsyncResult

import autocelery.errors
from autocelery._broker import EmbeddedBroker, LocalBroker
from autocelery._config import Home
from autocelery._signing import keys
from tests import since
from tests.conftest import remove_tree
from tests.waiting import PATIENCE, wait_for
from tests.workers import Worker

_CELERY = """
import json, pathlib
from celery import Celery
from autocelery import Autocelery

app = Celery("shop", include=["shop.tasks"])
app.conf.update(json.loads(pathlib.Path(__file__).with_name("settings.json").read_text()))
auto = Autocelery(app)
"""
_TASKS = """
import os, pathlib, signal, subprocess, threading, time
from shop.celery import app

@app.task
def add(x, y):
    return x + y

@app.task
def pid():
    return os.getpid()

@app.task(acks_late=True, reject_on_worker_lost=True)
def late(number, seconds=0.0):
    threading.Event().wait(seconds)
    return number * number

@app.task
def early(number, seconds=0.0):
    threading.Event().wait(seconds)
    return number * number

@app.task(bind=True)
def hang(self, place):
    "Start a process that outlives nobody, say where both are, and never return."
    child = subprocess.Popen(["sleep", "600"])
    scratch = pathlib.Path(place + ".new")
    scratch.write_text(f"{os.getpid()} {child.pid}")
    scratch.rename(place)
    threading.Event().wait()

@app.task
def leave_behind():
    "Start a process and forget it."
    return [os.getpid(), subprocess.Popen(["sleep", "600"]).pid]

@app.task
def fork_away(place):
    "Leave a process that is in no group of ours and holds whatever is open here; then die."
    if os.fork() == 0:
        os.setsid()
        pathlib.Path(place).write_text(str(os.getpid()))
        threading.Event().wait()
    while not os.path.exists(place):
        threading.Event().wait(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

class Mourned(app.Task):
    "Takes its time over a failure: says when it has begun with that, and when it is done."

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        pathlib.Path(args[0] + ".begun").touch()
        threading.Event().wait(1.5)
        pathlib.Path(args[0]).touch()

@app.task(base=Mourned)
def never_return(place):
    threading.Event().wait()

@app.task
def kill_itself(number=signal.SIGKILL):
    os.kill(os.getpid(), number)
    threading.Event().wait()
"""
_CALLER = (
    since.SCRIPT_HEAD
    + """
import json, sys
from shop.celery import app, auto
from shop import tasks

names = {"app": app, "auto": auto, "tasks": tasks, "kept": {}}
print(json.dumps({"value": "ready"}), flush=True)
for line in sys.stdin:
    try:
        told = {"value": eval(json.loads(line), names)}
    except Exception as exc:
        told = {"raised": [type(exc).__name__, str(exc)]}
    print(json.dumps(told), flush=True)
"""
)


@dataclass(frozen=True, slots=True)
class Family:
    """The processes of a worker, as they are now."""

    main: psutil.Process
    pool: list[psutil.Process]
    agents: list[psutil.Process]
    zygotes: list[psutil.Process]
    hosts: list[psutil.Process]

    def everybody(self) -> list[psutil.Process]:
        """All of them, in one list."""
        return [self.main, *self.pool, *self.agents, *self.zygotes, *self.hosts]


def family_of(pid: int) -> Family:
    """Return the processes that belong to the worker whose main process is ``pid``."""
    main = psutil.Process(pid)
    children = _children(main)
    agents = [each for each in children if _runs(each, "autocelery._hosting.agent")]
    zygotes = [each for agent in agents for each in _children(agent)]
    hosts = [each for zygote in zygotes for each in _children(zygote)]
    return Family(main, [each for each in children if each not in agents], agents, zygotes, hosts)


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [each for each in process.children() if each.status() != psutil.STATUS_ZOMBIE]
    return []


def _runs(process: psutil.Process, module: str) -> bool:
    with suppress(psutil.Error):
        return module in process.cmdline()
    return False


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Caller:
    """A Python process in the project's folder that evaluates what it is asked to. Owns the process."""

    def __init__(self, top: Path, environment: dict[str, str], python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, "-c", _CALLER],
            cwd=top,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._answer()

    @property
    def pid(self) -> int:
        return self._process.pid

    def do(self, expression: str) -> Any:
        """Return the value of ``expression``, or raise what it raises.

        It knows ``app``, ``auto``, ``tasks`` and a dict ``kept``.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(expression) + "\n")
        return self._answer()

    def send(self, task: str, *args: Any, **options: Any) -> str:
        """Send a live call of a task of ``shop.tasks``; return its id."""
        return str(self.do(f"tasks.{task}.live.apply_async({args!r}, **{options!r}).id"))

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        """End it, once it has done what it was asked to."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        self._process.wait(PATIENCE)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the caller died"
        told = json.loads(line)
        if "raised" in told:
            raise getattr(autocelery.errors, told["raised"][0], RuntimeError)(told["raised"][1])
        return told["value"]


class Shop:
    """The project in ``folder``. Owns it, its workers, its callers and its connections.

    Args:
        folder: empty; the project is made in it, and ``AUTOCELERY_HOME``.
        broker: its URL.
        backend: the result backend's URL.
        environment: for workers and callers, besides the test's own.
    """

    def __init__(self, folder: Path, broker: str, backend: str, **environment: str) -> None:
        self.top, self.home = folder / "project", folder / "home"
        self.settings: dict[str, Any] = {"broker_url": broker, "result_backend": backend}
        self.settings |= {"result_extended": True, "broker_connection_retry_on_startup": True}
        self.environment = {"AUTOCELERY_HOME": str(self.home), **environment}
        self._owned = ExitStack()
        self._owned.callback(remove_tree, self.home)
        self.write("__init__.py", "")
        self.write("celery.py", _CELERY)
        #: What ``shop/tasks.py`` says at first.
        self.tasks = _TASKS
        self.write("tasks.py", self.tasks)
        self.app = Celery("outside", set_as_current=False)
        self.app.conf.update(self.settings)
        self._owned.callback(self.app.close)
        self.configure()

    def configure(self, **settings: Any) -> None:
        """Change settings of the app, for whoever starts from now on."""
        self.settings |= settings
        self.app.conf.update(settings)
        self.write("settings.json", json.dumps(self.settings))

    def write(self, name: str, text: str) -> Path:
        """Write a file of the package ``shop``."""
        path = self.top / "shop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def worker(self, name: str, *options: str, **environment: str) -> Worker:
        """Start a stock worker; it is stopped with the shop."""
        options = ("--without-heartbeat", *options)
        worker = Worker(self.top, "shop", name, *options, **{**self.environment, **environment})
        self._owned.callback(stop_worker, worker)
        return worker.start()

    def caller(self, python: str = sys.executable, **environment: str) -> Caller:
        """Start a caller, in another interpreter if it is named; it is stopped with the shop."""
        caller = Caller(self.top, {**os.environ, **self.environment, **environment}, python)
        self._owned.callback(caller.stop)
        return caller

    def key_text(self) -> str:
        """Return the public key that this shop's callers sign with, as a worker is told to trust it."""
        here = Home(keys=self.home / "keys", cache=self.home / "cache")
        return keys.export_text(keys.own_key(here))

    def result(self, task_id: str, timeout: float = PATIENCE) -> Any:
        """Return the result of a call, or raise what it raised, as its caller would."""
        return AsyncResult(task_id, app=self.app).get(timeout=timeout, interval=0.02)

    def close(self) -> None:
        """Stop everything, the last started first."""
        self._owned.close()


def stop_worker(worker: Worker) -> None:
    """Stop ``worker``, also one that a test killed already."""
    with suppress(psutil.NoSuchProcess, AssertionError):
        everybody = family_of(worker.pid).everybody()
        worker.stop()
        wait_for(lambda: not any(is_alive(each.pid) for each in everybody), what="everything has ended")


def own_server(owned: ExitStack) -> EmbeddedBroker:
    """Start a Redis-compatible server that is ended with ``owned``."""
    broker = LocalBroker()
    running = broker.start()
    assert running.pid is not None, "these tests need a Redis-compatible server"
    owned.callback(broker.stop)
    if not since.RESULTS_MAY_DIE_AT_ANY_TIME:  # then before the server does, which they take leave of
        gc.disable()
        owned.callback(gc.enable)
        owned.callback(_collect_garbage)
    return running


def _collect_garbage() -> None:
    """Let go of results; of a connection and its socket in one circle, either may be finalised first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def own_shop(owned: ExitStack, folder: Path, **environment: str) -> Shop:
    """Open a shop with a server of its own, which are closed with ``owned``; what it takes is what `Shop` takes."""
    server = own_server(owned)
    shop = Shop(folder, server.broker_url, server.result_backend, **environment)
    owned.callback(shop.close)
    return shop


def kill(process: psutil.Process, number: int = signal.SIGKILL) -> bool:
    """Send a signal; false where the process was gone already."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
        return True
    return False
