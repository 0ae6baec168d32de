"""The tables ``up`` and ``queues``, read from ``autocelery.toml`` or ``pyproject.toml``."""

from __future__ import annotations

import graphlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autocelery._tables import MOST_PRIORITY, QueuePlan, Tables, instead, table_file
from autocelery._up.plan import STOP_SECONDS, Plan, ProcessPlan
from autocelery.errors import UpInvalid

_UP = {"app", "stop_seconds", "http", "beat", "workers", "processes"}
_WORKER = {"queues", "concurrency", "autoscale", "pool", "priority", "memory_limit", "stop_seconds", "after",
           "environment", "options", "loglevel"}  # fmt: skip
_PROCESS = {"command", "after", "environment", "memory_limit", "stop_seconds"}
#: What the app's default queue is called unless its settings say otherwise, which are not read here.
_DEFAULT_QUEUE = "celery"
#: Options of a worker that have its log go elsewhere, or say less: then it is ready after a while, as others are.
_LOGGING = ("-f", "--logfile", "-l", "--loglevel")


def find(folder: Path) -> Path:
    """Return the file with the tables, in ``folder`` or the nearest one above.

    Raises:
        UpInvalid: there is none.
    """
    path = table_file(folder)
    if path is not None:
        return path
    raise UpInvalid(
        f"There is nothing to run in {folder}: no autocelery.toml, and no [tool.autocelery.up] or "
        "[tool.autocelery.queues] in a pyproject.toml there or above. The least is one line: [tool.autocelery.up] "
        'with app = "proj".'
    )


def queues_of(path: Path) -> tuple[QueuePlan, ...]:
    """Return the table of queues in a file.

    Raises:
        UpInvalid: it does not say what it could mean.
    """
    return Tables(path).queues()


def plan_of(path: Path, app: str | None = None) -> Plan:
    """Return what a file says is to run.

    Args:
        path: of the file.
        app: goes before what the file says.

    Raises:
        UpInvalid: it does not say what it could mean; the message has the file and the key.
    """
    return _Reader(path).plan(app)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._tables = Tables(path)

    def plan(self, app: str | None) -> Plan:
        up = self._tables.table(self._tables.root, "up")
        self._tables.known(up, "up", _UP)
        app = app or self._tables.text(up, "app", "up", "")
        stop = self._tables.seconds(up, "up", STOP_SECONDS)
        processes = [*self._workers(up, app, stop), *self._others(up, stop)]
        if up.get("beat"):
            processes.append(ProcessPlan("beat", (*_autocelery(app), "beat"), stop_seconds=stop))
        if not app and (up.get("workers") or up.get("beat") or self._tables.root.get("queues")):
            raise self._tables.wrong("up.app", 'is missing: the app, as for celery -A; app = "proj"')
        return Plan(
            self._tables.path.parent, self._tables.path, app, self._in_order(processes), self._http(up)
        )

    def _workers(self, up: Mapping[str, Any], app: str, stop: float) -> list[ProcessPlan]:
        queues = self._tables.queues()
        told = self._tables.table(up, "workers")
        highest = max(
            [each.priority for each in queues]
            + [
                self._tables.number(told[name], "priority", f"up.workers.{name}", 0, most=MOST_PRIORITY)
                for name in told
            ],
            default=0,
        )
        lists = {name: self._tables.texts(told[name], "queues", f"up.workers.{name}") for name in told}
        listed = {queue for each in lists.values() for queue in each}
        taken = [each.name for each in queues if each.workers or each.name in listed]
        the_rest = ("-X", ",".join(taken)) if taken else ()
        found = [
            self._worker(
                name,
                told[name],
                app,
                ("-Q", ",".join(lists[name])) if lists[name] else the_rest,
                stop,
                highest,
            )
            for name in told
        ]
        for each in queues:
            if each.name not in listed and each.workers:
                options = ("-Q", each.name, "-c", str(each.workers))
                found.append(_worker_of(app, each.name, options, highest - each.priority, stop))
        if app and all(lists.values()) and _DEFAULT_QUEUE not in taken:
            found.append(_worker_of(app, "default", the_rest, highest, stop))
        return found

    def _worker(
        self, name: str, told: Mapping[str, Any], app: str, queues: tuple[str, ...], stop: float, highest: int
    ) -> ProcessPlan:
        key = f"up.workers.{name}"
        self._tables.known(told, key, _WORKER)
        command = [
            *_celery(app),
            "-n",
            f"worker_{name}@%h",
            "-l",
            self._tables.text(told, "loglevel", key, "INFO"),
            *queues,
        ]
        if "concurrency" in told:
            command += ["-c", str(self._tables.number(told, "concurrency", key, 1, least=1))]
        if "autoscale" in told:
            command += ["--autoscale", self._autoscale(told["autoscale"], key)]
        if "pool" in told:
            command += ["-P", self._tables.text(told, "pool", key, "prefork")]
        options = self._tables.texts(told, "options", key)
        says_ready = command[command.index("-l") + 1].upper() in ("INFO", "DEBUG")
        says_ready &= not any(each.startswith(_LOGGING) for each in options)
        niceness = max(highest - self._tables.number(told, "priority", key, 0, most=MOST_PRIORITY), 0)
        return self._process(f"worker_{name}", [*command, *options], told, key, stop, niceness, says_ready)

    def _others(self, up: Mapping[str, Any], stop: float) -> list[ProcessPlan]:
        found = []
        for name, told in self._tables.table(up, "processes").items():
            key = f"up.processes.{name}"
            self._tables.known(told, key, _PROCESS)
            command = told.get("command")
            try:
                words = (
                    shlex.split(command)
                    if isinstance(command, str)
                    else list(self._tables.texts(told, "command", key))
                )
            except ValueError as exc:
                raise self._tables.wrong(f"{key}.command", f"is no command: {str(exc).lower()}") from exc
            if not words:
                raise self._tables.wrong(f"{key}.command", 'is missing: command = "gunicorn proj.wsgi"')
            found.append(self._process(name, words, told, key, stop))
        return found

    def _process(
        self, name: str, command: Sequence[str], told: Mapping[str, Any], key: str, stop: float, niceness: int = 0,
        says_ready: bool = False,
    ) -> ProcessPlan:  # fmt: skip
        environment = self._tables.table(told, "environment", key)
        for each, value in environment.items():
            if not isinstance(value, str):
                raise self._tables.wrong(f"{key}.environment.{each}", f"is {value!r}, and no text")
        return ProcessPlan(
            name=name,
            command=tuple(command),
            after=self._tables.texts(told, "after", key),
            environment=tuple(environment.items()),
            niceness=niceness,
            memory_limit=self._tables.bytes(told, key),
            stop_seconds=self._tables.seconds(told, key, stop),
            says_ready=says_ready,
        )

    def _in_order(self, processes: Sequence[ProcessPlan]) -> tuple[ProcessPlan, ...]:
        by_name: dict[str, ProcessPlan] = {}
        for each in processes:
            if each.name in by_name:
                raise self._tables.wrong(f"up: {each.name}", "is the name of two processes")
            by_name[each.name] = each
        for each in processes:
            for other in each.after:
                if other not in by_name:
                    raise self._tables.wrong(
                        f"{each.name}.after", f"names {other!r}, {instead(other, by_name)}"
                    )
        try:
            order = list(
                graphlib.TopologicalSorter({each.name: each.after for each in processes}).static_order()
            )
        except graphlib.CycleError as exc:
            raise self._tables.wrong("after", f"goes in a circle: {' after '.join(exc.args[1])}") from exc
        return tuple(by_name[name] for name in order)

    def _http(self, up: Mapping[str, Any]) -> tuple[str, int] | None:
        told = self._tables.text(up, "http", "up", "")
        if not told:
            return None
        host, _, port = told.rpartition(":")
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise self._tables.wrong("up.http", f"is {told!r}, and not like 127.0.0.1:8001")
        return host or "127.0.0.1", int(port)

    def _autoscale(self, value: object, key: str) -> str:
        if (
            isinstance(value, list)
            and len(value) == 2
            and all(isinstance(each, int) for each in value)
            and 0 <= value[0] <= value[1]
        ):
            return f"{value[1]},{value[0]}"
        raise self._tables.wrong(
            f"{key}.autoscale", f"is {value!r}, and not the least and the most, like [2, 8]"
        )


def _worker_of(app: str, name: str, options: tuple[str, ...], niceness: int, stop: float) -> ProcessPlan:
    """Return the worker of a queue that no table of a worker lists, or of all the rest."""
    command = (*_celery(app), "-n", f"worker_{name}@%h", *options, "-l", "INFO")
    return ProcessPlan(f"worker_{name}", command, niceness=niceness, stop_seconds=stop, says_ready=True)


def _celery(app: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "celery", "-A", app, "worker")


def _autocelery(app: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "autocelery", "-A", app)
