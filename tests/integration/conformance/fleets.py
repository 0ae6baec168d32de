"""A worker, the project it runs and all that watches it; and a scenario run the same way deployed and live."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import redis
from celery import signals
from celery.result import AsyncResult

from tests import since
from tests.integration.conformance.projects import Project
from tests.integration.conformance.records import (
    CallRecord,
    Labels,
    Record,
    described,
    events_of,
    logged_of,
    ordered,
    run_by_run,
    stored_of,
)
from tests.integration.conformance.watching import Watch, wait_for_the_end
from tests.waiting import PATIENCE
from tests.workers import Worker

#: Of each worker's pool.
CONCURRENCY = 4
_SECONDS_TO_BUILD = 120


class Fleet:
    """One worker with its project. Owns both, the watch and a connection.

    Args:
        folder: where the project is written.
        pool: the worker's.
        settings: what the project reads.
        index: a folder of wheels; live calls then run in an environment of their own, which is built from it.
    """

    def __init__(self, folder: Path, pool: str, settings: dict[str, Any], index: Path | None = None) -> None:
        self.pool, self.prefix = pool, settings["prefix"]
        self.store_is_readable = not str(settings["celery"]["result_backend"]).startswith("rpc")
        self._owned = ExitStack()
        with ExitStack() as unless_started:
            unless_started.callback(self._owned.close)
            self._start(folder, settings, index)
            unless_started.pop_all()

    def _start(self, folder: Path, settings: dict[str, Any], index: Path | None) -> None:
        self.project = Project(folder, settings)
        self._owned.callback(self.project.close)
        self.app = self.project.app
        self._redis = redis.Redis.from_url(settings["redis"], decode_responses=True)
        self._owned.callback(self._redis.close)
        queue = self.app.conf.task_default_queue
        options = ["-P", self.pool, "-c", str(CONCURRENCY), "-E", "-Q", f"{queue},{queue}-routed"]
        # Pickle is accepted here, which Celery refuses to root unless told otherwise: containers are root.
        variables = {"C_FORCE_ROOT": "1"}
        if index is not None:
            variables |= self._stand_alone(folder, index)
        self.worker = Worker(self.project.folder, self.project.package, queue, *options, **variables)
        self._owned.callback(self.worker.stop)
        self.worker.start()
        self.watch = Watch(self.app)
        self._owned.callback(self.watch.stop)
        if index is not None:
            self.project.task("add").live.delay(1, 2).get(timeout=_SECONDS_TO_BUILD)
            assert "Built environment" in self.worker.text()

    def _stand_alone(self, folder: Path, index: Path) -> dict[str, str]:
        (self.project.folder / "pyproject.toml").write_text('[tool.autocelery]\nenvironment = "own"\n')
        return {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(index), "UV_CACHE_DIR": str(folder / "uv")}

    def close(self) -> None:
        """Stop the worker and everything else, the last first."""
        self._owned.close()

    def ran(self, task_id: str) -> list[list[Any]]:
        """Return what the project recorded of a call."""
        return [json.loads(each) for each in self._redis.lrange(f"{self.prefix}ran:{task_id}", 0, -1)]

    def published(self, task_id: str) -> list[list[Any]]:
        """Return the signals of a call's being sent."""
        return [json.loads(each) for each in self._redis.lrange(f"{self.prefix}sent:{task_id}", 0, -1)]

    def sendings(self, task_id: str) -> int:
        """Return how often a call was sent, one that is being sent included: what it ends may be slower to say so."""
        return max(sum(step[0] == "before_task_publish" for step in self.published(task_id)), 1)

    def ended_silently(self, task_id: str) -> int:
        """Return how often a call ended so that no event tells, or was revoked, with event and signal."""
        ran = self.ran(task_id)
        states = [step[4] for step in ran if step[1] == "task_postrun"]
        revoked = sum(step[1] == "task_revoked" for step in ran)
        silent = states.count("IGNORED")
        if not since.REJECTED_CALLS_FAIL:
            rejected = states.count("REJECTED")
            if (
                rejected and self.app.tasks[ran[0][2]].acks_late
            ):  # an event tells whether its message comes again
                rejected = self.watch.count(task_id, "task-rejected")
            silent += max(rejected - self.watch.put_back(task_id), 0)
        return silent + min(revoked, self.watch.count(task_id, "task-revoked"))


class Caller:
    """How a scenario sends: ``on.add`` is the task, deployed or live, whatever the scenario does with it."""

    def __init__(self, fleet: Fleet, way: str) -> None:
        self.fleet, self.way = fleet, way
        self.sent: list[str] = []

    def __getattr__(self, name: str) -> Any:
        task = self.fleet.project.task(name)
        return task.live if self.way == "live" else task

    @property
    def recording(self) -> Any:
        """The project's module that stops calls at gates."""
        return self.fleet.project.module("recording")

    @property
    def control(self) -> Any:
        """The remote control of the app."""
        return self.fleet.app.control

    def warm_up(self) -> None:
        """Have every process of the pool run a call of this code: none has to start a host for the next one.

        A time limit that a call meets before it runs leaves another record than one that it meets while it runs.
        """
        with self._block():
            calls = [self.waits.delay() for _ in range(CONCURRENCY)]
        for each in calls:
            self.recording.wait_at_gate(each.id)
        for each in calls:
            self.recording.open_gate(each.id)
            each.get(timeout=PATIENCE)

    def run(self, scenario: Callable[[Caller], Any]) -> Any:
        """Run ``scenario`` and note the id of each message that it sends."""
        with self._noting(), self._block():
            return scenario(self)

    @contextlib.contextmanager
    def _noting(self) -> Any:
        def note(headers: Any = None, **_: Any) -> None:
            self.sent.append(headers["id"])

        signals.before_task_publish.connect(note, weak=False)
        try:
            yield
        finally:
            signals.before_task_publish.disconnect(note)

    def _block(self) -> AbstractContextManager[Any]:
        if self.way != "block":
            return contextlib.nullcontext()
        auto: AbstractContextManager[Any] = self.fleet.project.module("celery").auto.live()
        return auto


def record_of(caller: Caller, value: Any) -> Record:
    """Wait for the end of what ``caller`` sent, and return all that can be compared of it."""
    fleet, labels = caller.fleet, Labels()
    family = wait_for_the_end(
        fleet.watch,
        caller.sent,
        fleet.sendings,
        fleet.ended_silently,
    )
    for task_id in family:
        events = ordered(fleet.watch.events(task_id))
        sent = next((event for event in events if event["type"] == "task-sent"), {})
        name = str(sent.get("name", "?")).rpartition(".")[2]
        labels.add(task_id, labels.text(f"{name}{sent.get('args')}{sent.get('kwargs')}"))
    calls = tuple(sorted((_call(fleet, each, labels) for each in family), key=repr))
    return Record(described(value, labels), calls)


def _call(fleet: Fleet, task_id: str, labels: Labels) -> CallRecord:
    events = ordered(fleet.watch.events(task_id))
    sent = next((event for event in events if event["type"] == "task-sent"), events[0])
    ran = [" ".join([labels.text(each) for each in step]) for step in run_by_run(fleet.ran(task_id))]
    published = [" ".join([labels.text(each) for each in step]) for step in fleet.published(task_id)]
    meta = fleet.app.backend.get_task_meta(task_id, cache=False) if fleet.store_is_readable else {}
    return CallRecord(
        name=sent["name"],
        args=labels.text(f"{sent['args']} {sent['kwargs']}"),
        parent=labels.text(sent.get("parent_id")),
        root=labels.text(sent.get("root_id")),
        published=tuple(published if len(published) == 2 else sorted(published)),
        events=events_of(events, labels),
        ran=tuple(ran),
        stored=stored_of(meta, labels),
        logged=logged_of(fleet.worker.text(), task_id, labels),
    )


def result_of(caller: Caller, task_id: str) -> AsyncResult:
    """Return the result of any call, as its caller would see it."""
    return caller.fleet.app.AsyncResult(task_id)
