"""The doctor's rules on what runs: a Redis of the test's own, RabbitMQ, workers and beats."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis

from autocelery._doctor.finding import Finding
from autocelery._doctor.rules import queues
from tests.patients import Patient
from tests.services import RabbitMQ, free_port
from tests.shops import own_server, stop_worker
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

_SHORT_AND_LONG = """
import pathlib, threading

@app.task
def short():
    pass

@app.task
def long(place):
    while not pathlib.Path(place).exists():
        threading.Event().wait(0.05)
"""
_ADD = "@app.task\ndef add(x, y=0):\n    return x + y\n"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a Redis-compatible server that nobody else uses, as Celery writes it."""
    with ExitStack() as owned:
        yield own_server(owned).broker_url


@pytest.fixture
def redis(server: str) -> Iterator[Redis]:
    """A client of it; what a test sets and stores there is gone afterwards."""
    with Redis.from_url(server.replace("redis+socket://", "unix://")) as client:
        client.config_set("appendonly", "yes")
        yield client
        client.flushall()
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")


@pytest.fixture
def patient(tmp_path: Path, server: str) -> Patient:
    """A healthy project on that server."""
    made = Patient(tmp_path / "code")
    made.settings(broker_url=server)
    made.tasks(_ADD)
    return made


@contextmanager
def working(patient: Patient, *options: str, name: str = "w", **environment: str) -> Iterator[Worker]:
    """Run a stock worker of the project."""
    worker = Worker(
        patient.folder, "proj.celery", name, "-c", "1", "--without-heartbeat", *options, **environment
    )
    try:
        yield worker.start()
    finally:
        stop_worker(worker)


def found(patient: Patient, code: str, **options: float) -> list[Finding]:
    """Return what one rule finds, with the broker and the workers asked."""
    return patient.findings(code, **{"offline": False, "timeout": 0.5, **options})


def seen(patient: Patient, code: str) -> list[Finding]:
    """Return what one rule finds, once the workers have had the time to answer."""
    return wait_for(lambda: found(patient, code), what=f"{code} is found")


def test_a_broker_that_is_away_is_one_finding_and_the_rest_is_looked_at(
    patient: Patient, redis: Redis
) -> None:
    assert found(patient, "AC003") == []
    patient.settings(broker_url=f"redis://:hidden@127.0.0.1:{free_port()}/0", task_always_eager=True)
    report = patient.look(offline=False)
    codes = [each.code for each in report.findings]
    assert codes.count("AC003") == 1
    assert "AC094" in codes
    assert not any("hidden" in each.message for each in report.findings if each.code == "AC003")
    assert patient.findings("AC003", offline=True) == []


def test_a_redis_that_evicts_messages(patient: Patient, redis: Redis) -> None:
    assert found(patient, "AC100") == []
    redis.config_set("maxmemory-policy", "allkeys-lru")
    assert [each.level for each in found(patient, "AC100")] == ["warning"]
    redis.config_set("maxmemory", 50_000_000)
    assert [each.level for each in found(patient, "AC100")] == ["error"]


def test_a_shared_redis_without_a_prefix(patient: Patient, redis: Redis, server: str) -> None:
    with patient.imported() as app:
        app.send_task("proj.tasks.add", (1, 2))
        app.send_task("proj.tasks.add", (1, 2), priority=9)
    assert found(patient, "AC101") == []
    redis.set(":1:views.cache.page", "x")
    assert "views.cache.page" in found(patient, "AC101")[0].message
    patient.settings(broker_url=server, broker_transport_options={"global_keyprefix": "proj:"})
    assert found(patient, "AC101") == []


def test_a_redis_that_forgets(patient: Patient, redis: Redis) -> None:
    assert found(patient, "AC102") == []
    redis.config_set("appendonly", "no")
    assert len(found(patient, "AC102")) == 1


def test_objects_and_large_messages_are_seen_in_redis_and_stay_there(patient: Patient, redis: Redis) -> None:
    with patient.imported() as app:
        app.send_task("proj.tasks.add", (1,), argsrepr="(1,)")
        assert found(patient, "AC051") == []
        assert found(patient, "AC059") == []
        app.send_task("proj.tasks.add", ("x" * 300_000,), argsrepr="(<Order: Order object (7)>,)", priority=6)
    before = {key: redis.lrange(key, 0, -1) for key in redis.keys("celery*")}
    assert "Order object (7)" in found(patient, "AC051")[0].message
    assert found(patient, "AC059")[0].where.text == "queue celery"
    assert {key: redis.lrange(key, 0, -1) for key in redis.keys("celery*")} == before
    assert redis.exists("unacked") == 0


def test_a_pickled_object_is_seen_in_rabbitmq_and_stays_there(
    patient: Patient, rabbitmq_vhost: RabbitMQ
) -> None:
    patient.settings(broker_url=rabbitmq_vhost.url, task_default_queue=rabbitmq_vhost.queue)
    with patient.imported() as app:
        for body in ((1,), ("django.db.models.base model_unpickle",), (3,)):
            app.send_task("proj.tasks.add", body, argsrepr="...")
        assert len(found(patient, "AC051")) == 1
        assert [each.message for each in found(patient, "AC103")] == [
            "3 messages and no worker that listens."
        ]
        assert _bodies(app, rabbitmq_vhost.queue) == [[1], ["django.db.models.base model_unpickle"], [3]]


def _bodies(app: Celery, queue: str) -> list[list[object]]:
    """Take what is in a queue, in its order."""
    with app.connection_for_read() as connection, connection.SimpleQueue(queue) as simple:
        return [simple.get(timeout=5).payload[0] for _ in range(simple.qsize())]


def test_messages_that_nobody_takes_and_queues_that_nobody_listens_to(
    patient: Patient, redis: Redis, server: str
) -> None:
    assert [each.level for each in found(patient, "AC109")] == ["info"]
    with patient.imported() as app:
        app.send_task("proj.tasks.add", (1, 2))
    assert found(patient, "AC103")[0].where.text == "queue celery"
    with working(patient, "-Q", "other"):
        assert found(patient, "AC109") == []
        assert found(patient, "AC103")[0].where.text == "queue celery"
        assert "proj.tasks.add" in found(patient, "AC104")[0].message
    with working(patient, name="takes-all"):
        wait_for(lambda: not redis.exists("celery"), what="the message is taken")
        assert found(patient, "AC103") == []
        assert found(patient, "AC104") == []


def test_workers_with_other_tasks_settings_and_pools(patient: Patient, redis: Redis, server: str) -> None:
    with working(patient, "-P", "threads"):
        assert found(patient, "AC105") == []
        assert found(patient, "AC106") == []
        assert found(patient, "AC108") == []
        [limited] = seen(patient, "AC023")
        assert limited.where.text.startswith("worker w@")
        patient.tasks(f"{_ADD}@app.task\ndef newer():\n    pass\n")
        patient.settings(broker_url=server, task_time_limit=20)
        assert "proj.tasks.newer" in seen(patient, "AC105")[0].message
        assert "task_time_limit is 300 there and 20 here" in seen(patient, "AC108")[0].message


def test_workers_of_another_version(patient: Patient, redis: Redis) -> None:
    """What a worker says of itself is real; that it is another version is said here instead, by the caller's side."""
    with working(patient), patient.imported() as app:
        from autocelery._doctor.evidence import Evidence
        from autocelery._doctor.rules import TABLE

        app.finalize()
        evidence = Evidence(app)
        there = evidence.fleet.workers[0].versions["celery"]
        assert evidence.versions["celery"] == there
        evidence.__dict__["versions"] = {"celery": "4.4.7"}
        assert there.rpartition(".")[0] in next(iter(TABLE["AC106"].findings(evidence))).message


def test_two_workers_of_one_name(patient: Patient, redis: Redis) -> None:
    with working(patient):
        assert found(patient, "AC107") == []
        with working(patient):
            wait_for(lambda: found(patient, "AC107"), what="both answer")


def test_two_beats_on_this_machine(patient: Patient, redis: Redis) -> None:
    with ExitStack() as owned:
        for name in ("a", "b"):
            assert found(patient, "AC080") == []
            schedule = str(patient.folder / f"schedule-{name}")
            command = [
                sys.executable,
                "-m",
                "celery",
                "-A",
                "proj.celery",
                "beat",
                "--pidfile=",
                "-s",
                schedule,
            ]
            beat = subprocess.Popen(
                command, cwd=patient.folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
            )
            owned.callback(beat.wait)
            owned.callback(beat.kill)
        assert wait_for(lambda: found(patient, "AC080"), what="both are seen")[0].level == "error"


def test_durations_of_one_queue_as_they_are_watched(
    patient: Patient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits a minute here: what counts as a long task is made shorter, what is measured is real."""
    monkeypatch.setattr(queues, "_HOLDS_UP", 1)
    monkeypatch.setattr(queues, "_RATIO", 5)
    patient.tasks(_SHORT_AND_LONG)
    end = patient.folder / "end"
    with working(patient, "-E", "-P", "threads", "-c", "2"), patient.imported() as app:
        app.send_task("proj.tasks.long", (str(end),))
        assert [each.message for each in found(patient, "AC078", watch=0.1)] == []
        with background(lambda: app.send_task("proj.tasks.short")):
            told = wait_for(lambda: found(patient, "AC078", watch=1.0), what="both were measured")
        assert told[0].where.text == "queue celery"
        assert told[0].message.startswith("proj.tasks.long takes up to ")
        assert "proj.tasks.short 0" in told[0].message
        end.touch()


@contextmanager
def background(action: Callable[[], object]) -> Iterator[None]:
    """Do something again and again meanwhile."""
    stopped = threading.Event()

    def again() -> None:
        while not stopped.wait(0.1):
            action()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
