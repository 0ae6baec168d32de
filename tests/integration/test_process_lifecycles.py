"""Processes end with whoever owns them, whatever ends those; and nothing is left of a worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from celery.exceptions import TaskRevokedError, TimeLimitExceeded, WorkerLostError

from autocelery.errors import HostLost
from tests import since
from tests.shops import Caller, Family, Shop, family_of, is_alive, kill, own_shop, stop_worker
from tests.stopwatch import Stopwatch
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

#: DESIGN.md, section 4: each ends the host and its whole process group within so many seconds.
SECONDS_TO_END = 2.0
#: How many processes the worker's pool has.
CONCURRENCY = 2


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with ExitStack() as owned:
        shop = own_shop(owned, tmp_path_factory.mktemp("shop"))
        yield shop


@pytest.fixture(scope="module")
def caller(shop: Shop) -> Caller:
    return shop.caller()


@pytest.fixture(scope="module")
def worker(shop: Shop, caller: Caller) -> Worker:
    worker = shop.worker("lifecycles", "-c", str(CONCURRENCY))
    assert shop.result(caller.send("add", 1, 1)) == 2
    return worker


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A place for temporary files of a worker's own; its path has to fit into a socket's address."""
    folder = tmp_path.parent / tmp_path.name[-8:]
    folder.mkdir()
    return folder


def hanging(shop: Shop, caller: Caller, place: Path, **options: object) -> tuple[str, int, int]:
    """Send a call that never returns; return its id, its host's pid and the pid of what it started."""
    task_id = caller.send("hang", str(place), **options)
    wait_for(place.exists, what="the task runs")
    host, child = map(int, place.read_text().split())
    assert is_alive(host)
    assert is_alive(child)
    return task_id, host, child


def assert_ended(*pids: int) -> None:
    with Stopwatch() as watch:
        wait_for(lambda: not any(map(is_alive, pids)), what=f"{pids} have ended")
    assert watch.seconds < SECONDS_TO_END, watch


def kill_pool_process(family: Family, host: int) -> list[psutil.Process]:
    return killed(*family.pool)


def kill_agent(family: Family, host: int) -> list[psutil.Process]:
    return killed(*family.agents)


def kill_zygote(family: Family, host: int) -> list[psutil.Process]:
    parent = psutil.Process(host).parent()
    assert parent in family.zygotes
    return killed(parent)


def kill_host(family: Family, host: int) -> list[psutil.Process]:
    return killed(psutil.Process(host))


def kill_agent_and_zygotes(family: Family, host: int) -> list[psutil.Process]:
    return killed(*family.agents, *family.zygotes)


def killed(*processes: psutil.Process) -> list[psutil.Process]:
    """Kill these, and return them with those that end with them: a call that meets one of them yet is lost too."""
    doomed = [*processes, *(below for each in processes for below in each.children(recursive=True))]
    for each in processes:
        kill(each)
    return doomed


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        (kill_host, HostLost),
        (kill_zygote, HostLost),
        (kill_agent, HostLost),
        (kill_agent_and_zygotes, HostLost),
        (kill_pool_process, WorkerLostError),
    ],
)
def test_a_host_and_what_its_task_started_end_with(
    ending: Callable[[Family, int], list[psutil.Process]],
    error: type[Exception],
    shop: Shop,
    caller: Caller,
    worker: Worker,
    tmp_path: Path,
) -> None:
    task_id, host, child = hanging(shop, caller, tmp_path / "pids")
    doomed = ending(family_of(worker.pid), host)
    assert_ended(host, child, *(each.pid for each in doomed))
    with pytest.raises(error):
        shop.result(task_id)
    assert shop.result(caller.send("add", 20, 3)) == 23


def test_a_host_ends_at_the_hard_time_limit(
    shop: Shop, caller: Caller, worker: Worker, tmp_path: Path
) -> None:
    task_id, host, child = hanging(shop, caller, tmp_path / "pids", time_limit=1)
    with pytest.raises(TimeLimitExceeded):
        shop.result(task_id)
    assert_ended(host, child)


def test_a_host_ends_when_its_call_is_revoked_and_terminated(
    shop: Shop, caller: Caller, worker: Worker, tmp_path: Path
) -> None:
    task_id, host, child = hanging(shop, caller, tmp_path / "pids")
    shop.app.control.revoke(task_id, terminate=True)
    assert_ended(host, child)
    with pytest.raises(TaskRevokedError):
        shop.result(task_id)


def test_what_a_finished_task_left_behind_ends_with_its_host(
    shop: Shop, caller: Caller, worker: Worker
) -> None:
    host, child = shop.result(caller.send("leave_behind"))
    assert is_alive(child)
    kill(psutil.Process(host))
    assert_ended(host, child)


def test_a_dead_host_is_noticed_though_a_process_that_it_forked_holds_its_socket(
    shop: Shop, caller: Caller, worker: Worker, tmp_path: Path
) -> None:
    task_id = caller.send("fork_away", str(tmp_path / "pid"))
    wait_for((tmp_path / "pid").exists, what="the task has forked")
    try:
        with pytest.raises(HostLost):
            shop.result(task_id)
    finally:
        kill(psutil.Process(int((tmp_path / "pid").read_text())))


def test_the_agent_is_started_again_and_a_soft_limit_that_comes_late_does_nothing(
    shop: Shop, caller: Caller, worker: Worker
) -> None:
    # A child that has not become an agent yet looks like one of the pool.
    wait_for(lambda: len(family_of(worker.pid).pool) == CONCURRENCY, what="the worker is as it was started")
    before = family_of(worker.pid)
    assert_ended(*(each.pid for each in killed(*before.agents)))
    host = shop.result(caller.send("pid"))
    after = family_of(worker.pid)
    assert [each.pid for each in after.agents] != [each.pid for each in before.agents]
    pool = [each.pid for each in before.pool]
    wait_for(lambda: [each.pid for each in family_of(worker.pid).pool] == pool, what="the pool is as it was")
    for each in after.hosts:
        kill(each, signal.SIGUSR1)
    assert {shop.result(caller.send("pid")) for _ in range(4)} <= {
        each.pid for each in family_of(worker.pid).hosts
    }
    assert is_alive(host)


def test_a_sigterm_to_everything_leaves_the_agent_and_its_zygotes_to_the_worker(
    shop: Shop, caller: Caller, worker: Worker
) -> None:
    shop.result(caller.send("pid"))
    family = family_of(worker.pid)
    for each in (*family.agents, *family.zygotes):
        kill(each, signal.SIGTERM)
    shop.result(caller.send("pid"))
    assert {each.pid for each in family_of(worker.pid).agents} == {each.pid for each in family.agents}
    assert all(is_alive(each.pid) for each in family.zygotes)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGTERM])
def test_nothing_is_left_of_a_worker_that_ends_by(
    number: signal.Signals, shop: Shop, caller: Caller, temporary: Path, tmp_path: Path
) -> None:
    queue = f"ends-{number.name}"
    own = shop.worker(queue, "-c", "1", "-Q", queue, TMPDIR=str(temporary))
    try:
        if number == signal.SIGTERM:  # which waits for what runs
            host, child = shop.result(caller.send("leave_behind", queue=queue))
        else:
            _, host, child = hanging(shop, caller, tmp_path / "pids", queue=queue)
        everybody = family_of(own.pid).everybody()
        assert len(everybody) >= 5
        assert list(temporary.glob("autocelery-*/agent"))
        kill(psutil.Process(own.pid), number)
        wait_for(lambda: not is_alive(own.pid), what="the worker has ended")
        assert_ended(host, child)
        wait_for(lambda: not any(is_alive(each.pid) for each in everybody), what="everything has ended")
        wait_for(lambda: not list(temporary.glob("autocelery-*")), what="no folder is left")
    finally:
        stop_worker(own)


@since.where_hard_limits_call_hooks
def test_a_worker_that_stops_lets_a_call_that_failed_just_now_have_its_on_failure(
    shop: Shop, caller: Caller, tmp_path: Path
) -> None:
    own = shop.worker("mourns", "-c", "1", "-Q", "mourns")
    done = tmp_path / "done"
    caller.send("never_return", str(done), queue="mourns", time_limit=1)
    wait_for(done.with_name("done.begun").exists, what="the hook runs")
    stop_worker(own)
    assert done.exists()


def test_a_worker_that_starts_again_has_its_cache_and_removes_what_was_left_when_it_was_killed_with_its_agent(
    shop: Shop, caller: Caller, temporary: Path
) -> None:
    name, caches = f"same@{os.uname().nodename}", shop.home / "cache" / "worker"
    first = shop.worker("same", "-P", "solo", "-Q", "same", TMPDIR=str(temporary))
    assert shop.result(caller.send("add", 1, 2, queue="same")) == 3
    [layout] = [each for each in (caches / name / "snapshots").iterdir() if len(each.name) == 64]
    made = layout.stat().st_ino
    family = family_of(first.pid)
    for each in (*family.agents, family.main):  # an agent that is stopped cannot tidy up
        kill(each, signal.SIGSTOP)
    for each in family.everybody():
        kill(each)
    stop_worker(first)
    [socket] = temporary.glob("autocelery-*/agent")
    long_ago = time.time() - 3600
    os.utime(socket, (long_ago, long_ago))
    (temporary / "autocelery-of-somebody").mkdir()
    (temporary / "autocelery-of-somebody" / "agent").write_text("not a socket")
    again = shop.worker("same", "-P", "solo", "-Q", "same", TMPDIR=str(temporary))
    assert not socket.parent.exists()
    assert (temporary / "autocelery-of-somebody" / "agent").exists()
    assert shop.result(caller.send("add", 1, 4, queue="same")) == 5
    assert layout.stat().st_ino == made
    other = shop.worker("same", "-P", "solo", "-Q", "other")
    assert shop.result(caller.send("add", 1, 3, queue="other")) == 4
    assert {each.name for each in caches.glob("same*")} == {name, f"{name}-2"}
    stop_worker(other)
    stop_worker(again)


def test_pool_processes_that_are_replaced_after_each_call_leave_no_host(shop: Shop, caller: Caller) -> None:
    options = ("--autoscale", "3,1", "--max-tasks-per-child", "2", "--max-memory-per-child", "1")
    own = shop.worker("replaced", "-Q", "replaced", *options)
    ids = [caller.send("add", number, 1, queue="replaced") for number in range(12)]
    assert [shop.result(each) for each in ids] == list(range(1, 13))
    wait_for(
        lambda: len((now := family_of(own.pid)).hosts) <= len(now.pool),
        10,
        "no host without a pool process",
    )
    stop_worker(own)


def test_hosts_are_kept_warm_up_to_a_number_replaced_after_so_many_calls_and_end_when_idle(
    shop: Shop, caller: Caller
) -> None:
    own = shop.worker(
        "bounded",
        *("-c", "1", "-Q", "bounded"),
        AUTOCELERY_WARM_HOSTS="2",
        AUTOCELERY_HOST_MAX_CALLS="3",
        AUTOCELERY_HOST_IDLE="2",
    )
    calls = [caller.send("pid", queue="bounded") for _ in range(10)]  # at once: between them no host is idle
    pids = [shop.result(each) for each in calls]
    assert [pids.count(each) for each in dict.fromkeys(pids)] == [3, 3, 3, 1]
    for version in range(5):
        path = shop.write("tasks.py", shop.tasks + f"\nVERSION = {version}\n")
        assert path.exists()
        shop.result(caller.send("pid", queue="bounded"))
    wait_for(lambda: len(family_of(own.pid).hosts) <= 2, what="two hosts are kept warm")
    wait_for(lambda: not family_of(own.pid).hosts, what="hosts end that nobody needs")
    assert shop.result(caller.send("add", 5, 5, queue="bounded")) == 10
    stop_worker(own)
