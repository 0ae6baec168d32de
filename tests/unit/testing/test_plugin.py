"""The fixtures of the pytest plugin, on an app of the test's own, and on a project as its users have one."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chord, group
from kombu import Connection, Exchange, Queue

from autocelery import Autocelery
from autocelery.errors import AppNotFound, BrokerNotConfigured, ConfigurationError, ResultNeverComes
from autocelery.testing import (
    Time,
    assert_not_sent,
    assert_sent,
    broker_worker,
    eager,
    memory_worker,
    recording,
)
from tests import services
from tests.waiting import PATIENCE, wait_for


@pytest.fixture
def autocelery_app() -> Celery:
    """The app that the plugin's fixtures are about."""
    app = Celery("bakery", broker="redis://nowhere.invalid", set_as_current=False)

    @app.task(name="add", shared=False)
    def add(a: int, b: int = 1) -> int:
        return a + b

    @app.task(name="total", shared=False)
    def total(each: list[int]) -> int:
        return sum(each)

    @app.task(name="where", shared=False)
    def where() -> str:
        return threading.current_thread().name

    @app.task(name="rises", bind=True, max_retries=3, default_retry_delay=600, shared=False)
    def rises(self: Any) -> str:
        if self.request.retries < 2:
            raise self.retry()
        return f"after {self.request.retries}"

    return app


@pytest.fixture
def tasks(autocelery_app: Celery) -> Any:
    return autocelery_app.tasks


def test_eager_runs_here_whatever_broker_the_app_has(autocelery_eager: Celery, tasks: Any) -> None:
    assert tasks["where"].delay().get() == threading.current_thread().name
    assert group(tasks["add"].s(each) for each in range(3))().get() == [1, 2, 3]
    assert_sent(tasks["add"], 2)


def test_the_memory_worker_is_a_worker(autocelery_memory_worker: Any, tasks: Any) -> None:
    assert tasks["where"].delay().get(timeout=PATIENCE) != threading.current_thread().name
    assert tasks["add"].delay(2, b=3).get(timeout=PATIENCE) == 5
    assert_sent(tasks["add"], 2, b=3)
    assert group(tasks["add"].s(each) for each in range(3))().get(timeout=PATIENCE) == [1, 2, 3]


def test_the_broker_worker_is_on_a_real_broker_and_leaves_nothing(
    redis_url: str, autocelery_app: Celery, tasks: Any
) -> None:
    import redis

    with broker_worker(autocelery_app, redis_url):
        (name,) = autocelery_app.amqp.queues
        assert tasks["where"].delay().get(timeout=PATIENCE) != threading.current_thread().name
        assert tasks["add"].delay(2, b=3).get(timeout=PATIENCE) == 5
    assert list(autocelery_app.amqp.queues) == ["celery"]
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(match=f"{name}*")) == []


def test_the_broker_worker_is_on_rabbitmq_too(
    rabbitmq_vhost: services.RabbitMQ, autocelery_app: Celery, tasks: Any
) -> None:
    with broker_worker(autocelery_app, rabbitmq_vhost.url):
        assert tasks["add"].delay(2, b=3).get(timeout=PATIENCE) == 5


@pytest.fixture
def routed_app(autocelery_app: Celery) -> Celery:
    """The app as it sends: one task by its table or its routes, one to wherever the call says."""
    autocelery_app.conf.update(
        task_queues=[Queue("celery"), Queue("prod"), Queue("wide", Exchange("wide", type="topic"), "wide.#")],
        task_routes={"where": {"queue": "prod"}, "add": {"queue": "wide", "routing_key": "wide.east"}},
    )
    return autocelery_app


def test_every_queue_of_the_app_is_the_worker_s_and_the_broker_s_own_are_not_touched(
    rabbitmq_vhost: services.RabbitMQ, routed_app: Celery, tasks: Any
) -> None:
    with Connection(rabbitmq_vhost.url) as connection, connection.SimpleQueue("prod") as production:
        production.put("for another worker")
        with broker_worker(routed_app, rabbitmq_vhost.url), recording() as sent:
            (own,) = routed_app.amqp.queues
            assert tasks["where"].delay().get(timeout=PATIENCE)
            assert tasks["total"].apply_async(([2, 1],), queue="special").get(timeout=PATIENCE) == 3
            assert tasks["add"].delay(2).get(timeout=PATIENCE) == 3
            risen = tasks["rises"].apply_async(max_retries=3, retries=2)
            assert risen.get(timeout=PATIENCE) == "after 2"
            chorded = chord(
                [tasks["add"].s(1).set(queue="prod")] * 2, tasks["total"].s().set(queue="special")
            )
            assert chorded().get(timeout=PATIENCE) == 4
        keys = {(each.task, each.routing_key) for each in sent}
        assert keys == {
            ("where", "prod"),
            ("add", "wide.east"),
            ("add", "prod"),
            ("total", "special"),
            ("rises", "celery"),
        }
        assert production.get(timeout=PATIENCE).payload == "for another worker"
        for name in ("celery", "special", "wide", own):
            with pytest.raises(connection.channel_errors), connection.channel() as channel:
                channel.queue_declare(name, passive=True)


@pytest.mark.parametrize("running", ["autocelery_eager", "autocelery_memory_worker"])
def test_a_call_to_any_queue_runs(
    routed_app: Celery, tasks: Any, running: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(running)
    assert tasks["add"].apply_async((2,), queue="special").get(timeout=PATIENCE) == 3
    assert assert_sent("add").routing_key == "special"
    assert tasks["where"].delay().get(timeout=PATIENCE)
    assert assert_sent("where").routing_key == "prod"


def test_a_live_call_that_a_worker_in_a_thread_cannot_run_says_so_at_once(
    autocelery_app: Celery, autocelery_memory_worker: Any, tasks: Any
) -> None:
    auto = Autocelery(autocelery_app)
    with pytest.raises(ConfigurationError, match="Use autocelery_eager"):
        tasks["add"].live.delay(1)
    with pytest.raises(ConfigurationError, match="Use autocelery_eager"), auto.live():
        tasks["add"].delay(1)
    assert tasks["add"].delay(1).get(timeout=PATIENCE) == 2


def test_a_live_call_that_was_made_before_its_worker_in_a_thread_says_so_too(
    autocelery_app: Celery, tasks: Any
) -> None:
    Autocelery(autocelery_app)
    with eager(autocelery_app):
        call = tasks["add"].live.s(1)
    with memory_worker(autocelery_app), pytest.raises(ConfigurationError, match="Use autocelery_eager"):
        call.delay()


def test_a_worker_on_a_real_broker_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    with (
        pytest.raises(BrokerNotConfigured, match="autocelery_broker"),
        broker_worker(Celery(set_as_current=False)),
    ):
        pass


def test_what_was_sent_and_how(autocelery_eager: Celery, tasks: Any) -> None:
    Autocelery(autocelery_eager)
    eta = datetime.now(UTC) + timedelta(hours=1)
    result = tasks["add"].apply_async((1,), {"b": 2}, eta=eta, queue="ovens", headers={"flour": "rye"})
    sent = assert_sent("add", 1, b=2)
    assert (sent.id, sent.task, sent.eta, sent.routing_key) == (result.id, "add", eta, "ovens")
    assert (sent.is_live, sent.headers["flour"]) == (False, "rye")
    tasks["add"].live.delay(3)
    assert assert_sent(tasks["add"].live).is_live
    assert_not_sent("add", 7)


def test_what_was_not_sent_is_said_beside_what_was(autocelery_eager: Celery, tasks: Any) -> None:
    tasks["add"].delay(1, b=2)
    with pytest.raises(AssertionError, match=r"^add\(3\) was not sent\. Sent: add\(1, b=2\)\.$"):
        assert_sent(tasks["add"], 3)
    with pytest.raises(AssertionError, match=r"^add\(1, b=2\) was sent\. Sent: "):
        assert_not_sent(tasks["add"])


def test_who_asks_what_was_sent_and_notes_nothing_is_told_how() -> None:
    with pytest.raises(ConfigurationError, match="autocelery_sent"):
        assert_sent("add")


def test_time_moves_what_is_due(autocelery_time: Time, autocelery_eager: Celery, tasks: Any) -> None:
    later = tasks["add"].apply_async((1,), countdown=3600)
    tomorrow = tasks["add"].apply_async((2,), eta=autocelery_time.now() + timedelta(days=1))
    autocelery_time.move(minutes=59)
    assert (later.state, tomorrow.state) == ("PENDING", "PENDING")
    with pytest.raises(ResultNeverComes, match=r"add\[.*\] is due at .* held at"):
        later.get()
    autocelery_time.move(minutes=1)
    assert (later.get(), tomorrow.state) == (2, "PENDING")
    autocelery_time.move_to(assert_sent("add", 2).eta)
    assert tomorrow.get() == 3


def test_time_moves_retries_each_from_when_the_one_before_ran(
    autocelery_eager: Celery, autocelery_time: Time, tasks: Any
) -> None:
    result = tasks["rises"].delay()
    assert result.state == "RETRY"
    autocelery_time.move(seconds=601)
    assert result.state == "RETRY"
    autocelery_time.move(seconds=600)  # the second retry was asked for at 600, and is due at 1,200
    assert result.get() == "after 2"


def test_time_moves_an_expiry(autocelery_eager: Celery, autocelery_time: Time, tasks: Any) -> None:
    result = tasks["add"].apply_async((1,), countdown=60, expires=30)
    autocelery_time.move(minutes=1)
    assert result.state == "REVOKED"


def test_time_moves_a_memory_worker(
    autocelery_time: Time, autocelery_memory_worker: Any, autocelery_app: Celery, tasks: Any
) -> None:
    later = tasks["add"].apply_async((1,), countdown=3600)
    (timer,) = autocelery_app.autocelery_timers
    wait_for(lambda: timer._held, what="the worker has taken the call in")
    assert later.state == "PENDING"
    autocelery_time.move(hours=1)
    assert later.get(timeout=PATIENCE) == 2


def test_time_does_not_go_back(autocelery_time: Time) -> None:
    with pytest.raises(ConfigurationError, match="forward only"):
        autocelery_time.move(seconds=-1)


def test_the_app_is_as_it_was(request: pytest.FixtureRequest, autocelery_app: Celery) -> None:
    """After its test an app sends to its broker again."""
    before, root = dict(vars(autocelery_app)), logging.getLogger()
    log = (root.level, list(root.handlers))
    with eager(autocelery_app), memory_worker(autocelery_app), eager(autocelery_app):
        assert autocelery_app.tasks["add"].delay(1).get() == 2
        assert (root.level, list(root.handlers)) == log
    left = {name for name in vars(autocelery_app) if name not in before}
    assert not {"send_task", "_connection", "autocelery_eager"} & left
    with autocelery_app.connection_for_write() as connection:
        assert connection.hostname == "nowhere.invalid"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "shop.py").write_text(
        "from celery import Celery\n\napp = Celery('shop')\n\n\n@app.task\ndef add(a, b):\n    return a + b\n"
    )
    (tmp_path / "test_shop.py").write_text(
        "from autocelery.testing import assert_sent\nfrom shop import add\n\n\n"
        "def test_add(autocelery_eager):\n    assert add.delay(2, 2).get() == 4\n    assert_sent(add, 2, 2)\n"
    )
    return tmp_path


def run_pytest(folder: Path) -> str:
    """Return what pytest prints in ``folder``, with the plugin as it is installed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_a_project_names_its_app_and_has_the_fixtures(project: Path) -> None:
    (project / "pytest.ini").write_text("[pytest]\nautocelery_app = shop:app\npythonpath = .\n")
    assert "1 passed" in run_pytest(project)


def test_a_project_that_names_no_app_is_told_how(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_APP", raising=False)
    (project / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    assert f"{AppNotFound.__name__}: The fixtures of autocelery do not know the app" in run_pytest(project)
