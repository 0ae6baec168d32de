"""What a call is told in ``auto.live(...)`` and ``auto.map(...)`` holds, or is refused: nothing is dropped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.shops import Caller, Shop, own_shop
from tests.workers import Worker

TASKS = """
import time
from celery import Task
from shop.celery import app

@app.task
def slow(seconds):
    time.sleep(seconds)
    return seconds

@app.task(time_limit=1)
def limited(seconds):
    return slow(seconds)

@app.task(bind=True)
def where(self, x=None):
    return self.request.delivery_info["routing_key"]

@app.task(queue="gpu")
def train(x):
    from celery import current_task
    return [x, current_task.request.delivery_info["routing_key"]]

class Session(Task):
    def __call__(self, *args, **kwargs):
        return ["in a session", self.run(*args, **kwargs)]

@app.task(base=Session)
def stored(x):
    return x

class Adder(Task):
    name = "shop.tasks.adder"

    def run(self, x):
        return x + 1

app.register_task(Adder())

@app.task(bind=True)
def replaced(self, x):
    raise self.replace(slow.s(x))

@app.task
def over(items):
    from celery.result import allow_join_result
    with allow_join_result():
        return list(app.autocelery.map(train, items))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        shop = own_shop(owned, tmp_path_factory.mktemp("told"))
        shop.write("tasks.py", TASKS)
        yield shop


@pytest.fixture(scope="module")
def worker(shop: Shop) -> Iterator[Worker]:
    worker = shop.worker("told", "-Q", "celery,gpu", "-c", "2")
    yield worker
    worker.stop()


@pytest.fixture
def caller(shop: Shop, worker: Worker) -> Iterator[Caller]:
    caller = shop.caller()
    yield caller
    caller.stop()


def raised(caller: Caller, call: str) -> str:
    """Return the kind and the text of what ``call`` raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each test says which
        caller.do(call)
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize(
    ("call", "queue"),
    [
        ("auto.live(tasks.where, queue='gpu').delay()", "gpu"),
        ("auto.live(tasks.where.live, queue='gpu').delay()", "gpu"),
        ("auto.live(tasks.where, queue='gpu').s().delay()", "gpu"),
        ("auto.live(tasks.where, queue='gpu').apply_async(queue='celery')", "celery"),
        ("auto.live(tasks.where).delay()", "celery"),
        ("auto.using(tasks.where.live, auto.snapshot()).delay()", "celery"),
    ],
)
def test_a_task_is_told_where_its_calls_go(caller: Caller, call: str, queue: str) -> None:
    assert caller.do(f"{call}.get(timeout=60)") == queue


def test_a_task_is_told_how_long_its_calls_may_take(caller: Caller) -> None:
    text = raised(caller, "auto.live(tasks.slow, time_limit=1).delay(20).get(timeout=15)")
    assert "TimeLimitExceeded" in text


@pytest.mark.parametrize(
    "call",
    [
        "auto.live(tasks.slow, evn=['HOME'])",
        "auto.live(tasks.slow, acks_late=True)",
        "auto.live(evn=['HOME'])",
        "auto.live(auto.snapshot(), time_limit=1)",
        "auto.live(lambda x: x, base=tasks.Session)",
        "list(auto.map(tasks.slow, [1], evn=['HOME']))",
        "list(auto.map(tasks.slow, [1], chunk=-1))",
        "auto.live(tasks.slow.s(1))",
        "auto.live(7)",
        "auto.live(tasks.slow, output=True).s(1)",
    ],
)
def test_what_would_be_dropped_is_refused(caller: Caller, call: str) -> None:
    assert raised(caller, call).startswith("WrongCall: ")


def test_a_refusal_names_the_option_and_those_that_there_are(caller: Caller) -> None:
    text = raised(caller, "auto.live(evn=['HOME'])")
    assert text == "WrongCall: A block of auto.live() takes no evn. It takes env, output, packages."


def test_a_block_takes_the_first_digits_of_a_snapshot(caller: Caller) -> None:
    assert caller.do("auto.live(auto.snapshot().short).__enter__()") is None


def test_a_function_may_be_bound(caller: Caller) -> None:
    call = "auto.live(lambda self, x: [self.name, x], bind=True, name='mine').delay(3).get(timeout=60)"
    assert caller.do(call) == ["mine", 3]


def test_packages_of_a_block_are_asked_for_by_every_call_in_it(caller: Caller) -> None:
    caller.do("kept.update(block=auto.live(packages=['inflection==0.5.1']))")
    caller.do("kept['block'].__enter__()")
    version = "lambda _=None: __import__('inflection').__version__"
    try:
        assert caller.do(f"auto.live({version}).delay().get(timeout=120)") == "0.5.1"
        assert caller.do(f"list(auto.map({version}, [1]))") == ["0.5.1"]
    finally:
        caller.do("kept['block'].__exit__(None, None, None)")
    assert "No module named 'inflection'" in raised(caller, f"auto.live({version}).delay().get(timeout=60)")
    assert caller.do(f"list(auto.map({version}, [1], packages=['inflection==0.5.1']))") == ["0.5.1"]


def test_a_map_of_a_task_goes_where_the_task_does_and_calls_what_it_is(caller: Caller) -> None:
    assert caller.do("list(auto.map(tasks.train, [1, 2], chunk=2))") == [[1, "gpu"], [2, "gpu"]]
    assert caller.do("list(auto.map(tasks.stored, [1]))") == [["in a session", 1]]
    assert caller.do("list(auto.map(tasks.train, [1], queue='celery'))") == [[1, "celery"]]


def test_a_map_of_a_task_has_the_tasks_limit_for_each_item(caller: Caller) -> None:
    assert "TimeLimitExceeded" in raised(caller, "list(auto.map(tasks.limited, [20]))")
    assert caller.do("list(auto.map(tasks.limited, [0.7] * 4, chunk=4))") == [0.7] * 4


def test_a_replacement_inside_map_is_an_error_and_not_a_call_that_never_ends(caller: Caller) -> None:
    text = raised(caller, "list(auto.map(tasks.replaced, [1], timeout=60))")
    assert text.startswith("AutoceleryError: A task was replaced")


def test_a_live_task_maps_over_a_task_of_its_own_snapshot(caller: Caller) -> None:
    assert caller.do("tasks.over.live.delay([1, 2]).get(timeout=60)") == [[1, "gpu"], [2, "gpu"]]


def test_chunks_are_a_group_as_those_of_tasks_become(caller: Caller) -> None:
    for call in ("chunks([(0,), (0,)], 1).group()()", "chunks([(0,), (0,)], 1)()"):
        assert caller.do(f"tasks.slow.live.{call}.get(timeout=60)") == [[0], [0]]


def test_wait_takes_one_result(caller: Caller) -> None:
    assert caller.do("auto.wait(tasks.slow.live.delay(0)).succeeded") == 1


def test_the_command_calls_a_class_that_was_registered(shop: Shop, worker: Worker) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autocelery", "-A", "shop", "call", "shop.tasks.adder", "1"],
        cwd=shop.top, env={**os.environ, **shop.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr


def test_functions_and_maps_run_in_place_where_calls_are_eager(shop: Shop) -> None:
    caller: Any = shop.caller()
    try:
        caller.do("app.conf.update(task_always_eager=True)")
        assert caller.do("auto.live(lambda x: x + 1).delay(1).get()") == 2
        assert caller.do("list(auto.map(lambda x: x + 1, [1, 2]))") == [2, 3]
        assert caller.do("list(auto.map(tasks.stored, [1]))") == [["in a session", 1]]
        assert caller.do("[name for name in app.tasks if 'lambda' in name or '.map' in name]") == [
            "celery.map"
        ]
    finally:
        caller.stop()
