"""A table's queues on RabbitMQ: messages with a countdown, and of quorum queues, arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery import VERSION

from tests import services
from tests.shops import Shop, own_server
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

TABLE = """
[queues]
plain = { tasks = ["shop.tasks.say"] }
empty = { tasks = ["shop.tasks.wait"] }
"""
QUORUM = 'safe = { tasks = ["shop.tasks.pay"], type = "quorum" }\n'
TASKS = """
from shop.celery import app

@app.task
def pay(amount):
    return amount

@app.task
def wait():
    pass

@app.task
def say(word):
    return word
"""


@pytest.fixture
def shop(rabbitmq_url: str, tmp_path: Path) -> Iterator[Shop]:
    assert rabbitmq_url
    with ExitStack() as owned:
        results = own_server(owned).result_backend
        broker = owned.enter_context(services.own_rabbitmq()).url
        made = Shop(tmp_path, broker, results, AUTOCELERY_STORE=str(tmp_path / "blobs"))
        owned.callback(made.close)
        (made.top / "autocelery.toml").write_text(TABLE)
        made.write("tasks.py", TASKS)
        yield made


@pytest.mark.skipif(VERSION < (5, 5), reason="Celery consumes from quorum queues since 5.5")
def test_calls_of_each_queue_arrive_at_once_and_later(shop: Shop) -> None:
    (shop.top / "autocelery.toml").write_text(TABLE + QUORUM)
    worker = shop.worker("tables", "-c", "1")
    caller = shop.caller()
    for kind in ("", ".live"):
        for call in ("pay{kind}.apply_async((7,)).id", "pay{kind}.apply_async((7,), countdown=1).id"):
            assert shop.result(str(caller.do(f"tasks.{call.format(kind=kind)}"))) == 7
    assert shop.result(str(caller.do("tasks.say.delay('hi').id"))) == "hi"
    text = worker.text()
    assert "safe             exchange=safe(topic) key=safe" in text
    assert "plain            exchange=plain(direct) key=plain" in text


def test_a_call_that_nobody_listens_for_is_said_where_it_is_sent(shop: Shop) -> None:
    shop.worker("tables", "-c", "1", "-X", "empty")
    caller = shop.caller()
    caller.do(
        "__import__('logging').getLogger('autocelery').addHandler("
        "kept.setdefault('log', __import__('logging.handlers').handlers.BufferingHandler(100)))"
    )
    caller.do("tasks.say.delay('hi').id")
    caller.do("tasks.wait.delay().id")
    [said] = wait_for(
        lambda: caller.do("[each.getMessage() for each in kept['log'].buffer]"), what="it was said"
    )
    assert "shop.tasks.wait was sent to the queue 'empty', to which no running worker listens" in said
    caller.do("[tasks.wait.delay().id for _ in range(5)]")
    assert len(caller.do("kept['log'].buffer and [each.getMessage() for each in kept['log'].buffer]")) == 1
