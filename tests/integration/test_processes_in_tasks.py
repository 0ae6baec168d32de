"""A live task starts processes of its own as any script does, by each method, and they end when it ends them."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.shops import Caller, Shop, own_shop
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

_MORE_TASKS = """
import concurrent.futures, multiprocessing

def square(number):
    return number * number

@app.task
def squares(method, times):
    "Each pool is ended with SIGTERM while its processes wait for a lock, or do not wait yet."
    said = []
    for _ in range(times):
        with multiprocessing.get_context(method).Pool(2) as pool:
            said.append(pool.map(square, [1, 2, 3]))
    return said

@app.task
def squares_by_executor(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        return list(executor.map(square, [1, 2, 3]))

@app.task
def child_told_to_end(own_handler):
    "Return how a forked child ended, and what SIGTERM does here before and after."
    before = signal.getsignal(signal.SIGTERM)
    if own_handler:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    ready, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"!")
        threading.Event().wait()
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    status = os.waitpid(child, 0)[1]
    signal.signal(signal.SIGTERM, before)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [os.waitstatus_to_exitcode(status), callable(before), sorted(map(int, blocked))]

@app.task
def child_leaves(how):
    "Return how a forked child ended that never calls os._exit."
    child = os.fork()
    if child == 0:
        if how == "return":
            return "the child's"
        raise {"exit": SystemExit, "code": SystemExit(3), "text": SystemExit("no"), "error": KeyError}[how]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        shop = own_shop(owned, tmp_path_factory.mktemp("shop"))
        shop.write("tasks.py", shop.tasks + _MORE_TASKS)
        yield shop


@pytest.fixture(scope="module")
def worker(shop: Shop) -> Worker:
    return shop.worker("processes", "-c", "1")


@pytest.fixture(scope="module")
def caller(shop: Shop, worker: Worker) -> Caller:
    return shop.caller()


@pytest.mark.parametrize(("method", "times"), [("fork", 200), ("spawn", 2), ("forkserver", 5), (None, 5)])
def test_pools_of_processes_end_by_each_method(
    shop: Shop, caller: Caller, method: str | None, times: int
) -> None:
    assert shop.result(caller.send("squares", method, times)) == [[1, 4, 9]] * times


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_executors_of_processes_work_by_each_method(shop: Shop, caller: Caller, method: str) -> None:
    assert shop.result(caller.send("squares_by_executor", method)) == [1, 4, 9]


def test_sigterm_ends_what_a_task_forked_at_once_and_the_task_keeps_its_own_handling(
    shop: Shop, caller: Caller
) -> None:
    status, is_handled, blocked = shop.result(caller.send("child_told_to_end", False))
    assert status == -signal.SIGTERM
    assert is_handled
    assert blocked == []


def test_a_handler_that_the_task_has_set_is_its_childrens_too(shop: Shop, caller: Caller) -> None:
    status, *_ = shop.result(caller.send("child_told_to_end", True))
    assert status == 7


@pytest.mark.parametrize(("how", "status"), [("exit", 0), ("code", 3), ("text", 1)])
def test_what_a_task_forked_leaves_by_system_exit_and_its_parent_answers(
    shop: Shop, caller: Caller, how: str, status: int
) -> None:
    assert shop.result(caller.send("child_leaves", how)) == status


@pytest.mark.parametrize(("how", "status"), [("return", 0), ("error", 1)])
def test_what_a_task_forked_and_let_come_back_leaves_the_answer_to_its_parent(
    caller: Caller, worker: Worker, how: str, status: int
) -> None:
    """The child may store a result before: Celery's tracer runs on in it, as it does in a deployed task."""
    call = caller.send("child_leaves", how)
    done = re.compile(rf"\[{call}\] succeeded in .*s: (.*)$", re.MULTILINE)
    wait_for(lambda: str(status) in done.findall(worker.text()), what="the parent has answered")
