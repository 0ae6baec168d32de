"""Messages that wait are looked at where they are, and stay."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from kombu import Exchange, Queue

from autocelery import Autocelery
from autocelery._celery import parked, parking, queued
from autocelery._celery.queues import length_of
from autocelery._check.messages import compare_queued
from autocelery_host.header import HEADER, LIVE_TASK
from tests.waiting import wait_for


@pytest.fixture(params=["redis", "rabbitmq"])
def app(request: pytest.FixtureRequest) -> Iterator[Celery]:
    """An app whose broker nobody else uses: a prefix of its own, or a vhost."""
    app = Celery("shop", set_as_current=False)
    app.conf.task_ignore_result = True
    if request.param == "redis":
        app.conf.broker_url = request.getfixturevalue("redis_url")
        app.conf.broker_transport_options = {"global_keyprefix": request.getfixturevalue("redis_prefix")}
    else:
        app.conf.broker_url = request.getfixturevalue("rabbitmq_vhost").url
    yield app
    app.close()


def waiting(app: Celery) -> list[queued.Queued]:
    with app.connection_for_read() as connection:
        return list(queued.sample(app, connection, ["celery"], 10))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_waits_is_read_and_stays(app: Celery, compression: str | None) -> None:
    for number in range(3):
        app.send_task("shop.add", (number,), {"y": 1}, compression=compression)
    for _ in range(2):
        assert [each.arguments() for each in waiting(app)] == [((number,), {"y": 1}) for number in range(3)]
    with app.connection_for_read() as connection:
        assert length_of(connection, "celery") == 3


def test_a_body_that_cannot_be_decompressed_is_not_known(app: Celery) -> None:
    app.send_task("shop.add", (1,), headers={"compression": "application/x-unheard-of"})
    [found] = waiting(app)
    assert (found.task, found.arguments()) == ("shop.add", None)


def test_a_call_that_is_shown_under_another_name_is_still_its_tasks(app: Celery) -> None:
    Autocelery(app)

    @app.task(name="shop.add", shared=False)
    def add(x: int) -> int:
        return x

    add.apply_async((1,), shadow="Add numbers")
    live = {"v": 1, "task": "shop.mul", "snapshot": "0" * 64, "key": "0" * 64}
    app.send_task(LIVE_TASK, (1,), shadow="Multiply", headers={HEADER: live})
    assert [each.task for each in waiting(app)] == ["shop.add", "shop.mul"]
    assert [(each.task, str(each.verdict)) for each in compare_queued(app)] == [("shop.add", "safe")]


class Ada:
    """What only pickle can send."""


@pytest.fixture
def park(app: Celery) -> Callable[..., str]:
    """Send a call of a task, and park the message that comes of it, as a worker does."""

    def send(*args: Any, is_expired: bool = False, **options: Any) -> str:
        sent = app.send_task("shop.parking", args, **options)
        with app.connection_for_read() as connection, connection.channel() as channel:
            message = Queue(options.get("queue", "celery"), no_declare=True)(channel).get(
                no_ack=False, accept=["json", "pickle"]
            )
            if is_expired:
                message.headers["expires"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
            parked.park(app, message, "it does not fit")
            message.ack()
        return str(sent.id)

    return send


def is_for_one(x: int) -> None:
    """Stand for a task's code with one parameter."""


def fits(app: Celery) -> Callable[[Any], bool]:
    Autocelery(app)
    task = app.task(name="shop.parking", signature="park", shared=False)(is_for_one)
    return lambda message: not parking.why_not(task, message)


def parked_ids(app: Celery) -> list[str]:
    return [each.task_id for each in parked.look(app, "shop.parking", 10)]


def test_what_is_parked_is_seen_and_stays_however_often_it_is_looked_at(
    app: Celery, park: Callable[..., str]
) -> None:
    app.conf.task_default_queue_type = "quorum"
    first, second = park(1), park(2)
    for _ in range(25):  # of a quorum queue, RabbitMQ drops what was delivered twenty times
        assert parked_ids(app) == [first, second]
    assert [each.task_id for each in parked.look(app, "shop.parking", 1)] == [first]
    assert parked.release(app, "shop.parking", lambda message: True) == (2, 0)
    assert parked_ids(app) == []


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_is_released_is_what_was_sent(
    app: Celery, park: Callable[..., str], compression: str | None
) -> None:
    sent = park(1, compression=compression, priority=3, headers={"own": "kept"})
    assert parked.release(app, "shop.parking", fits(app)) == (1, 0)
    assert parked_ids(app) == []
    with app.connection_for_read() as connection, connection.channel() as channel:
        message = Queue("celery", no_declare=True)(channel).get(no_ack=True, accept=["json"])
    assert (message.headers["id"], message.headers["own"], message.payload[0]) == (sent, "kept", [1])
    assert message.properties["priority"] == 3
    assert parked.PARKED not in message.headers


def test_what_expires_waits_until_a_worker_says_so(app: Celery, park: Callable[..., str]) -> None:
    too_late = park("with", "two", expires=3600, is_expired=True)
    not_yet = park("with", "two", expires=3600)
    assert parked_ids(app) == [too_late, not_yet]
    assert parked.release(app, "shop.parking", fits(app)) == (1, 1), "Celery revokes it"
    assert parked_ids(app) == [not_yet]


def test_a_pickle_that_does_not_fit_is_not_released(app: Celery, park: Callable[..., str]) -> None:
    app.conf.accept_content = ["json", "pickle"]
    app.conf.task_serializer = "pickle"
    waits, goes = park(Ada(), "too much"), park(Ada())
    assert parked.release(app, "shop.parking", fits(app)) == (1, 1)
    assert parked_ids(app) == [waits]
    assert goes != waits


def test_a_message_that_cannot_be_read_holds_back_none(app: Celery, park: Callable[..., str]) -> None:
    fitting, other = park(1), park(1, "too much")
    with_no_codec = {"compression": "application/x-unheard-of"}
    app.send_task(
        "shop.parking", (1,), task_id="unread", queue="autocelery.parked.shop.parking", headers=with_no_codec
    )
    assert parked_ids(app) == [fitting, other, "unread"]
    assert parked.release(app, "shop.parking", fits(app)) == (2, 1), "Celery refuses what cannot be read"
    assert parked_ids(app) == [other]
    assert [each.headers["id"] for each in waiting(app)] == [fitting, "unread"]


def test_what_has_no_queue_to_go_to_stays_parked(
    app: Celery, park: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    gone = Queue("gone", Exchange("gone", type="topic"), routing_key="gone.#")
    app.conf.task_queues = [gone, Queue("celery")]
    sent = park(1, queue="gone")
    with app.connection_for_write() as connection, connection.channel() as channel:
        gone(channel).declare()  # kombu knows what is bound in Redis only by having declared it
        gone(channel).delete()
    app.conf.task_queues = [Queue("celery")]
    del app.amqp.queues
    assert parked.release(app, "shop.parking", fits(app)) == (0, 1)
    assert parked_ids(app) == [sent]
    assert f"shop.parking[{sent}] stays parked: no queue takes" in caplog.text


KILLED = """
import json, os, signal, sys
from celery import Celery
from autocelery._celery import parked

app = Celery("shop", set_as_current=False)
app.conf.update(json.loads(sys.argv[1]))
looked_at = []

def fits(found):
    looked_at.append(found)
    if len(looked_at) == 3:
        found.ack = lambda: os.kill(os.getpid(), signal.SIGKILL)
    if len(looked_at) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return True

parked.release(app, "shop.parking", fits)
"""


def test_a_release_that_is_killed_loses_nothing(app: Celery, park: Callable[..., str]) -> None:
    sent = [park(number) for number in range(5)]
    settings = {name: app.conf[name] for name in ("broker_url", "broker_transport_options")}
    ended = subprocess.run([sys.executable, "-c", KILLED, json.dumps(settings)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    # RabbitMQ learns from the connection's end that the third was not acknowledged: then it is in both.
    left = sent[3:] if app.conf.broker_url.startswith("redis") else sent[2:]
    wait_for(lambda: parked_ids(app) == left, what="what was not released is parked")
    assert [each.headers["id"] for each in waiting(app)] == sent[:3]


def test_of_two_that_release_one_moves_each_message(app: Celery, park: Callable[..., str]) -> None:
    sent = [park(number) for number in range(4)]

    def fits_after_a_rival(message: Any) -> bool:
        moved.append(parked.release(app, "shop.parking", lambda _: True).moved)
        return True

    moved: list[int] = []
    moved.append(parked.release(app, "shop.parking", fits_after_a_rival).moved)
    assert sum(moved) == 4
    assert sorted(each.headers["id"] for each in waiting(app)) == sorted(sent)
