"""Messages outlive code: a worker with a task's new signature, and messages that were sent for the old one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from autocelery._celery import parked
from autocelery.errors import SignatureMismatch
from tests import services
from tests.shops import Caller, Shop, own_server, stop_worker
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

OLD = """
from shop.celery import app

@app.task(signature="{policy}")
def greet(name):
    return "old " + name

class ByClass(app.Task):
    name = "shop.tasks.by_class"
    signature_policy = "{policy}"

    def run(self, name):
        return "old " + name

by_class = app.register_task(ByClass())
"""
NEW = """
from shop.celery import app

@app.task(bind=True, signature="{policy}", max_retries=1)
def greet(self, name, greeting, *, loud=False):
    return [name, greeting, loud, list(self.request.args)]

class ByClass(app.Task):
    name = "shop.tasks.by_class"
    signature_policy = "{policy}"

    def run(self, name, greeting):
        return [name, greeting]

by_class = app.register_task(ByClass())

@app.task(signature="tolerant")
def shout(name, greeting="hello"):
    return [name, greeting]

@app.task(signature="tolerant")
def last():
    return "done"

@app.task(bind=True, max_retries=1, upgrade={{
    1: lambda args, kwargs: (args, {{**kwargs, "greeting": "hello"}}),
    2: lambda args, kwargs: (args, {{"how": kwargs["greeting"]}}),
}})
def wave(self, name, how):
    if self.request.retries == 0 and name == "again":
        raise self.retry(countdown=0)
    return [name, how]

@app.task
def typed(name):
    raise TypeError("of its own")
"""


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The URLs of a broker and of a result backend."""
    with ExitStack() as owned:
        running = own_server(owned)
        if request.param == "redis":
            yield running.broker_url, running.result_backend
        else:
            request.getfixturevalue("rabbitmq_url")
            yield owned.enter_context(services.own_rabbitmq()).url, running.result_backend


@pytest.fixture
def shop(broker: tuple[str, str], tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path, *broker, AUTOCELERY_STORE=f"file://{tmp_path / 'store'}")
    yield shop
    shop.close()


@pytest.fixture
def old_caller(shop: Shop) -> Callable[[str], Caller]:
    """Start a caller that has the old code, and then change the code."""

    def start(policy: str) -> Caller:
        shop.write("tasks.py", OLD.format(policy=policy))
        caller = shop.caller()
        shop.write("tasks.py", NEW.format(policy=policy))
        return caller

    return start


def sent(caller: Caller, name: str, *args: Any, **kwargs: Any) -> str:
    """Send a call as the caller's code has it."""
    return str(caller.do(f"tasks.{name}.apply_async({args!r}, {kwargs!r}).id"))


def by_name(caller: Caller, name: str, *args: Any, **kwargs: Any) -> str:
    """Send a call whose message does not say what it was sent for."""
    return str(caller.do(f"app.send_task('shop.tasks.{name}', {args!r}, {kwargs!r}).id"))


def test_strict_fails_and_shows_both_signatures(shop: Shop, old_caller: Callable[[str], Caller]) -> None:
    old = old_caller("strict")
    shop.worker("strict", "-c", "1")
    call, right = sent(old, "greet", "Ada"), by_name(old, "greet", "Ada", "hello")
    own = by_name(old, "typed", "x")
    with pytest.raises(SignatureMismatch, match=r"missing a required argument: 'greeting'") as raised:
        shop.result(call)
    assert "It was sent for greet/1(name); this worker has greet/1(name,greeting,*,loud=)" in str(
        raised.value
    )
    assert isinstance(raised.value, TypeError)
    assert shop.result(right)[:3] == ["Ada", "hello", False]
    with pytest.raises(TypeError, match="of its own") as raised_by_it:
        shop.result(own)
    assert not isinstance(raised_by_it.value, SignatureMismatch)


def test_tolerant_takes_anything_and_says_so_once(shop: Shop, old_caller: Callable[[str], Caller]) -> None:
    old = old_caller("tolerant")
    worker = shop.worker("tolerant", "-c", "1")
    calls = [sent(old, "greet", "Ada") for _ in range(3)]
    assert [shop.result(each) for each in calls] == [["Ada", None, False, ["Ada"]]] * 3
    assert shop.result(by_name(old, "shout", "Ada", "hi", 3, mood="good")) == ["Ada", "hi"]
    assert shop.result(by_name(old, "shout")) == [None, "hello"]
    said = [line for line in worker.text().splitlines() if "This is said once" in line]
    assert len([each for each in said if "tasks.greet" in each]) == 1
    assert "1 positional argument left out; mood left out" in worker.text()


def test_a_chain_may_end_with_a_tolerant_task_that_takes_no_result(
    shop: Shop, old_caller: Callable[[str], Caller]
) -> None:
    old_caller("strict")
    shop.worker("chained", "-c", "1")
    new = shop.caller()
    chained = (
        "__import__('celery').chain(tasks.shout.{kind}('Ada', 'hi'), tasks.last.{kind}()).apply_async().id"
    )
    for kind in ("s", "live.s"):
        assert shop.result(str(new.do(chained.format(kind=kind)))) == "done"


def test_an_old_message_is_upgraded_step_by_step(shop: Shop, old_caller: Callable[[str], Caller]) -> None:
    old = old_caller("strict")
    shop.worker("upgrading", "-c", "1")
    header = "{'autocelery_signature': 'wave/%s(%s)'}"
    first = old.do(f"app.send_task('shop.tasks.wave', ('Ada',), headers={header % (1, 'name')}).id")
    second = old.do(
        "app.send_task('shop.tasks.wave', ('Ada',), {'greeting': 'hi'}, "
        f"headers={header % (2, 'name,greeting')}).id"
    )
    unsaid = by_name(old, "wave", "Ada")
    again = old.do(f"app.send_task('shop.tasks.wave', ('again',), headers={header % (1, 'name')}).id")
    assert shop.result(first) == shop.result(unsaid) == ["Ada", "hello"]
    assert shop.result(second) == ["Ada", "hi"]
    assert shop.result(again) == ["again", "hello"], (
        "a retry carries the upgraded arguments, and is not upgraded again"
    )
    broken = old.do(f"app.send_task('shop.tasks.wave', ('Ada',), headers={header % (2, 'name,greeting')}).id")
    with pytest.raises(
        SignatureMismatch, match=r"upgrade of shop.tasks.wave from version 2 .*KeyError: 'greeting'"
    ):
        shop.result(broken)


def test_what_does_not_fit_is_parked_until_a_worker_fits_it(
    shop: Shop, old_caller: Callable[[str], Caller]
) -> None:
    old = old_caller("park")
    new_worker = shop.worker("new", "-c", "1")
    waiting = [sent(old, "greet", name) for name in ("Ada", "Grace")]
    fitting = by_name(old, "greet", "Ada", "hello")
    assert shop.result(fitting)[:2] == ["Ada", "hello"]
    of_a_class = sent(old, "by_class", "Ada")
    for each in (*waiting, of_a_class):
        result = shop.app.AsyncResult(each)
        wait_for(lambda result=result: result.state == "PARKED", what="the call is parked")
        assert "missing a required argument: 'greeting'" in result.info["reason"]
    [first, second] = parked.look(shop.app, "shop.tasks.greet", 10)
    assert {first.task_id, second.task_id} == set(waiting)
    assert (first.sent_for, first.routing_key) == ("greet/1(name)", "celery")
    stop_worker(new_worker)

    shop.write("tasks.py", OLD.format(policy="park"))
    shop.worker("old", "-c", "1")
    assert sorted(shop.result(each) for each in waiting) == ["old Ada", "old Grace"]
    assert shop.result(of_a_class) == "old Ada"
    wait_for(lambda: not parked.look(shop.app, "shop.tasks.greet", 10), what="nothing is parked")


def test_what_still_does_not_fit_waits_on(shop: Shop, old_caller: Callable[[str], Caller]) -> None:
    old = old_caller("park")
    first = shop.worker("first", "-c", "1")
    call = sent(old, "greet", "Ada")
    wait_for(lambda: shop.app.AsyncResult(call).state == "PARKED", what="the call is parked")
    stop_worker(first)
    shop.worker("second", "-c", "1")
    assert shop.result(by_name(old, "greet", "Ada", "hi"))[:2] == ["Ada", "hi"]
    # The second worker looks at what is parked meanwhile, and puts it back.
    wait_for(
        lambda: [each.task_id for each in parked.look(shop.app, "shop.tasks.greet", 10)] == [call],
        what="it waits on",
    )
