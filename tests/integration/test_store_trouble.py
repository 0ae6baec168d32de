"""The blob store is wiped, down or full, or a disk is full: calls succeed or say so in time, and nothing hangs."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import redis

from autocelery._broker import EmbeddedBroker
from autocelery._broker.choosing import candidates
from autocelery.errors import DiskFull, SnapshotIncomplete, StoreFull, StoreUnavailable
from tests.shops import Caller, Shop, family_of, kill, own_server, stop_worker
from tests.stopwatch import Stopwatch
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

#: DESIGN.md, guarantee 4: what nobody sends again fails within so many seconds.
SECONDS_TO_FAIL = 5.0
#: Less than what `incompressible` holds, in bytes: as good as a full disk, and as real an error (EFBIG).
SMALL_FILE = 65_536


class Store:
    """A Redis-compatible server for blobs only, which may die and come back empty. Owns its process and folder."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ac-"))
        self.url = f"redis+socket://{self._folder / 's'}"
        self.client = redis.Redis(unix_socket_path=str(self._folder / "s"))
        self.start()

    def start(self) -> None:
        """Start it, empty."""
        [program, *_] = [each.program for each in candidates().usable if each.program]
        options = [
            "--port",
            "0",
            "--unixsocket",
            str(self._folder / "s"),
            "--save",
            "",
            "--dir",
            str(self._folder),
        ]
        self._process = subprocess.Popen([str(program), *options], stdout=subprocess.DEVNULL)
        wait_for(self._answers, what="the store answers")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it and remove its folder."""
        self.client.close()
        self.kill()
        shutil.rmtree(self._folder)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it take connections and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


@pytest.fixture(scope="module")
def owned() -> Iterator[ExitStack]:
    with ExitStack() as owned:
        yield owned


@pytest.fixture(scope="module")
def store(owned: ExitStack) -> Store:
    store = Store()
    owned.callback(store.close)
    return store


@pytest.fixture(scope="module")
def broker(owned: ExitStack) -> EmbeddedBroker:
    return own_server(owned)


@pytest.fixture(scope="module")
def shop(
    owned: ExitStack, broker: EmbeddedBroker, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Shop:
    folder = tmp_path_factory.mktemp("store")
    shop = Shop(folder, broker.broker_url, broker.result_backend, AUTOCELERY_STORE=store.url)
    owned.callback(shop.close)
    return shop


@pytest.fixture(scope="module")
def caller(shop: Shop) -> Caller:
    return shop.caller()


@pytest.fixture(scope="module")
def worker(shop: Shop, caller: Caller) -> Worker:
    worker = shop.worker("trouble", "-c", "1")
    assert shop.result(caller.send("add", 1, 1)) == 2
    return worker


def edited(shop: Shop, number: int) -> None:
    shop.write("tasks.py", shop.tasks.replace("return x + y", f"return x + y + {number}"))


def incompressible(shop: Shop, name: str, size: int = 2**20) -> Path:
    path = shop.top / "shop" / name
    path.write_bytes(os.urandom(size))
    return path


def test_a_caller_that_is_there_sends_again_what_the_store_lost_before_the_call(
    shop: Shop, caller: Caller, worker: Worker, store: Store
) -> None:
    edited(shop, 100)
    caller.do("auto.snapshot().id")
    store.client.flushall()
    assert shop.result(caller.send("add", 1, 1)) == 102


def test_a_caller_that_is_there_sends_again_what_the_store_loses_while_calls_run(
    shop: Shop, caller: Caller, worker: Worker, store: Store
) -> None:
    for number in range(200, 203):
        edited(shop, number)
        task_id = caller.send("add", 1, 1)
        store.client.flushall()
        assert shop.result(task_id) == number + 2


def test_a_caller_that_has_edited_its_code_since_sends_again_what_it_was(
    shop: Shop, caller: Caller, worker: Worker, store: Store
) -> None:
    ids = []
    for number in range(220, 223):
        edited(shop, number)
        ids.append(caller.send("add", 1, 1, countdown=1))
    store.client.flushall()
    edited(shop, 230)
    assert [shop.result(each) for each in ids] == [222, 223, 224]


def test_an_edit_runs_when_nobody_has_any_more_what_was_before_it(
    shop: Shop, caller: Caller, worker: Worker, store: Store
) -> None:
    for number in range(240, 248):  # so many that a layout becomes the next one
        edited(shop, number)
        assert shop.result(caller.send("add", 1, 1)) == number + 2
    [blobs] = shop.home.glob(f"cache/worker/{worker.hostname}/blobs")
    shutil.rmtree(blobs)
    store.client.flushall()
    other = shop.caller()
    edited(shop, 248)
    assert shop.result(other.send("add", 1, 1)) == 250


@pytest.mark.parametrize("name", ["statements", "snapshots", "blobs", "compiled"])
def test_a_worker_whose_cache_is_removed_under_it_goes_on(
    shop: Shop, caller: Caller, worker: Worker, name: str
) -> None:
    [folder] = shop.home.glob(f"cache/worker/{worker.hostname}/{name}")
    shutil.rmtree(folder)
    edited(shop, 270)
    assert shop.result(caller.send("add", 1, 1)) == 272


def test_several_snapshots_are_sent_again_at_once(
    shop: Shop, caller: Caller, worker: Worker, store: Store
) -> None:
    send = "auto.live(lambda x: x + {}).apply_async((1,), countdown=1).id"
    ids = [caller.do(send.format(number)) for number in range(250, 255)]
    store.client.flushall()
    assert [shop.result(each) for each in ids] == [number + 1 for number in range(250, 255)]


def test_a_call_whose_caller_is_gone_fails_in_time_when_the_store_was_wiped(
    shop: Shop, worker: Worker, store: Store
) -> None:
    edited(shop, 300)
    passing = shop.caller()
    task_id = passing.send("add", 1, 1, countdown=2)
    with Stopwatch() as watch:
        passing.kill()
        store.client.flushall()
        with pytest.raises(SnapshotIncomplete, match="wiped or has evicted"):
            shop.result(task_id)
    assert watch.seconds < 2 + SECONDS_TO_FAIL, watch
    assert store.client.keys("*.need") == []


def test_what_the_worker_has_runs_while_the_store_is_down_and_the_rest_fails_typed(
    shop: Shop, caller: Caller, worker: Worker, store: Store, broker: EmbeddedBroker
) -> None:
    edited(shop, 400)
    assert shop.result(caller.send("add", 1, 1)) == 402
    caller.do("kept.update(snapshot=auto.snapshot())")
    cached = "tasks.add.using(kept['snapshot']).delay(1, 1).id"
    edited(shop, 401)
    uncached = caller.send("add", 1, 1, countdown=1)
    store.kill()
    try:
        assert shop.result(caller.do(cached)) == 402
        for each in family_of(worker.pid).hosts:
            kill(each)
        assert shop.result(caller.do(cached)) == 402
        with pytest.raises(StoreUnavailable):
            shop.result(uncached)
        edited(shop, 402)
        with pytest.raises(StoreUnavailable):
            caller.send("add", 1, 1)
        assert waiting_messages(broker) == 0
    finally:
        store.start()
    assert shop.result(caller.send("add", 1, 1)) == 404


def test_a_store_that_does_not_answer_costs_a_call_a_bounded_time(
    shop: Shop, caller: Caller, worker: Worker, store: Store
) -> None:
    edited(shop, 500)
    task_id = caller.send("add", 1, 1, countdown=1)
    with store.frozen(), pytest.raises(StoreUnavailable):
        shop.result(task_id)
    assert shop.result(caller.send("add", 1, 1)) == 502


def test_nothing_is_sent_to_a_store_that_is_full(
    shop: Shop, caller: Caller, worker: Worker, store: Store, broker: EmbeddedBroker
) -> None:
    large = incompressible(shop, "large.bin", 4 * 2**20)
    signed = set(store.client.keys("*.sig"))
    store.client.config_set("maxmemory", store.client.info("memory")["used_memory"] + 2**20)
    try:
        with pytest.raises(StoreFull):
            caller.send("add", 1, 1)
        assert set(store.client.keys("*.sig")) == signed
        assert waiting_messages(broker) == 0
    finally:
        store.client.config_set("maxmemory", 0)
    assert shop.result(caller.send("add", 1, 1)) == 502
    large.unlink()


def test_a_worker_whose_disk_is_full_says_so_and_lives(shop: Shop, caller: Caller, worker: Worker) -> None:
    large = incompressible(shop, "large.bin")
    [agent] = family_of(worker.pid).agents
    with limited_files(agent.pid):
        with pytest.raises(DiskFull, match="AUTOCELERY_HOME"):
            shop.result(caller.send("add", 1, 1))
        assert family_of(worker.pid).agents == [agent]
    assert shop.result(caller.send("add", 1, 1)) == 502
    large.unlink()


def test_a_worker_that_starts_on_a_full_disk_says_so_until_there_is_room(
    shop: Shop, caller: Caller, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk / "ballast")
        settings = {"AUTOCELERY_HOME": str(disk), "AUTOCELERY_TRUSTED_KEYS": shop.key_text()}
        own = shop.worker("full", "-P", "solo", "-Q", "full", **settings)
        with pytest.raises(DiskFull):
            shop.result(caller.send("add", 1, 1, queue="full"))
        (disk / "ballast").unlink()
        assert shop.result(caller.send("add", 1, 1, queue="full")) == 502
        stop_worker(own)


def test_a_caller_whose_disk_is_full_sends_as_ever_or_says_so_where_it_has_no_key(
    shop: Shop, worker: Worker
) -> None:
    passing = shop.caller()
    with limited_files(passing.pid, 0):
        assert shop.result(passing.send("add", 1, 1)) == 502
    without_key = shop.caller(AUTOCELERY_HOME=f"{shop.home}-of-another")
    with limited_files(without_key.pid, 0), pytest.raises(DiskFull):
        without_key.send("add", 1, 1)
    shutil.rmtree(f"{shop.home}-of-another", ignore_errors=True)


def waiting_messages(broker: EmbeddedBroker) -> int:
    with redis.Redis(unix_socket_path=str(broker.folder / "s")) as client:
        return int(client.llen("celery"))


@contextmanager
def limited_files(pid: int, size: int = SMALL_FILE) -> Iterator[None]:
    """Have every file that the process writes end at ``size`` bytes (EFBIG)."""
    before = psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE)
    psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        psutil.Process(pid).rlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a file system of 4 MB; a desk or a container that may not mount skips the test."""
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a file system here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room (ENOSPC)."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert shutil.disk_usage(path).free == 0
