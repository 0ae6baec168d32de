"""Data files: large ones arrive whole, an edit sends a little, and whatever dies in between is made up for."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from autocelery._snapshot.chunking import CHUNK_MAX
from autocelery.errors import (
    AgentUnavailable,
    AutoceleryError,
    DiskFull,
    HostLost,
    SnapshotIncomplete,
    SnapshotInvalid,
    SnapshotTooLarge,
)
from tests.conftest import remove_tree
from tests.integration.test_store_trouble import Store, limited_files
from tests.shops import Caller, Shop, family_of, kill, own_server
from tests.terminals import Terminal
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MEGABYTE = 2**20
SIZE = 64 * MEGABYTE
#: What one changed byte may send, in bytes.
MOST_SENT = 2 * MEGABYTE
#: What a process may take for a file of `SIZE`, in bytes: some batches, and not the file.
MOST_MEMORY = 56 * MEGABYTE

_TASKS = """
import hashlib, pathlib
from shop.celery import app

@app.task
def digest():
    return hashlib.sha256(pathlib.Path(__file__).with_name("data.bin").read_bytes()).hexdigest()
"""


class Bench:
    """A shop with a data file, a caller, a worker and a store of its own."""

    def __init__(self, owned: ExitStack, folder: Path) -> None:
        broker = own_server(owned)
        self.store = Store()
        owned.callback(self.store.close)
        self.shop = Shop(folder, broker.broker_url, broker.result_backend, AUTOCELERY_STORE=self.store.url)
        owned.callback(self.shop.close)
        self.shop.write("tasks.py", _TASKS)
        self.data = self.shop.top / "shop" / "data.bin"
        self.data.write_bytes(b"")
        self.caller: Caller = self.shop.caller()
        self.worker: Worker = self.shop.worker("data", "-c", "1")

    def call(self) -> str:
        """Return the digest of the data file as the worker has it."""
        return str(self.shop.result(self.caller.send("digest"), 120))

    def fill(self, size: int = SIZE) -> str:
        """Write a new data file and return its digest."""
        with self.data.open("wb") as file:
            for _ in range(0, size, MEGABYTE):
                file.write(os.urandom(MEGABYTE))
        return self.digest()

    def digest(self) -> str:
        with self.data.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def change(self, at: int = SIZE // 3) -> str:
        """Change one byte; return the digest."""
        with self.data.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
        return self.digest()

    def sizes(self) -> dict[bytes, int]:
        """Return the sizes of what is in the store, by name."""
        client = self.store.client
        names = list(client.scan_iter(match="autocelery:*", count=1000))
        pipe = client.pipeline(transaction=False)
        for name in names:
            pipe.strlen(name)
        return dict(zip(names, pipe.execute(), strict=True))

    def half_written(self) -> list[Path]:
        """Return files that are being put together on the worker."""
        return list(self.shop.home.glob(f"cache/worker/{self.worker.hostname}/blobs/*/.new-*"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with ExitStack() as owned:
        yield Bench(owned, tmp_path_factory.mktemp("data"))


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has had since `forget_peak`, in bytes."""
    [line] = [
        each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")
    ]
    return int(line.split()[1]) * 1024


def forget_peak(pid: int) -> int:
    """Begin to look for the peak from now; return what the process has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_memory(pid)


def test_a_large_file_arrives_and_an_edit_sends_and_fetches_two_megabytes_at_most(bench: Bench) -> None:
    bench.call()
    [agent] = family_of(bench.worker.pid).agents
    digest = bench.fill()
    before = [forget_peak(pid) for pid in (bench.caller.pid, agent.pid)]
    assert bench.call() == digest
    took = [peak_memory(pid) - was for pid, was in zip((bench.caller.pid, agent.pid), before, strict=True)]
    assert max(took) < MOST_MEMORY, f"caller and agent took {[each / MEGABYTE for each in took]} MB"
    for number, edit in enumerate((bench.change, lambda: inserted(bench), lambda: appended(bench))):
        here = bench.sizes()
        digest = edit()
        assert bench.call() == digest
        new = sum(size for name, size in bench.sizes().items() if name not in here)
        assert 0 < new <= MOST_SENT, f"edit {number} sent {new} bytes"
        fetched = float(re.findall(r"they are here; ([\d.]+) MB were fetched", bench.worker.text())[-1])
        assert fetched <= MOST_SENT / MEGABYTE
    here = bench.sizes()
    assert bench.call() == digest
    assert bench.sizes().keys() == here.keys(), "nothing changed, and something was sent"


def inserted(bench: Bench) -> str:
    bench.data.write_bytes(b"a line at the beginning\n" + bench.data.read_bytes())
    return bench.digest()


def appended(bench: Bench) -> str:
    with bench.data.open("ab") as file:
        file.write(b"a line at the end\n")
    return bench.digest()


def test_what_a_store_lost_of_a_large_file_is_sent_again_and_nothing_else(bench: Bench) -> None:
    digest, before = bench.fill(), bench.sizes()
    task_id = bench.caller.send("digest", countdown=2)
    here = bench.sizes()
    lost = [name for name, size in here.items() if name not in before and size > CHUNK_MAX // 4][::3]
    assert len(lost) > 10
    bench.store.client.delete(*lost)
    heard = bench.store.client.info("stats")["total_net_input_bytes"]
    assert bench.shop.result(task_id, 120) == digest
    sent = bench.store.client.info("stats")["total_net_input_bytes"] - heard
    assert sent < sum(here[name] for name in lost) + 4 * MEGABYTE
    assert bench.sizes().keys() >= set(lost)


def test_a_store_that_is_wiped_while_a_file_is_fetched_costs_time_only(bench: Bench) -> None:
    digest = bench.fill()
    task_id = bench.caller.send("digest")
    wait_for(bench.half_written, 20, "the worker puts the file together")
    bench.store.client.flushall()
    assert bench.shop.result(task_id, 120) == digest


def test_a_call_whose_caller_dies_while_a_file_is_fetched_fails_and_leaves_nothing_half_there(
    bench: Bench,
) -> None:
    bench.fill()
    passing = bench.shop.caller()
    task_id = passing.send("digest")
    wait_for(bench.half_written, 20, "the worker puts the file together")
    passing.kill()
    bench.store.client.flushall()
    try:
        assert bench.shop.result(task_id, 60) == bench.digest()  # it was here already
    except SnapshotIncomplete:
        assert bench.half_written() == []
    assert bench.call() == bench.digest()


def test_an_agent_that_dies_while_it_puts_a_file_together_leaves_nothing_half_there(bench: Bench) -> None:
    digest = bench.fill()
    [agent] = family_of(bench.worker.pid).agents
    task_id = bench.caller.send("digest")
    wait_for(bench.half_written, 20, "the worker puts the file together")
    kill(agent)
    try:
        assert bench.shop.result(task_id, 60) == digest  # another agent did it
    except (AgentUnavailable, HostLost):
        assert bench.call() == digest
    assert bench.half_written() == []


def test_an_upload_that_is_killed_goes_on_where_it_was(bench: Bench) -> None:
    digest = bench.fill()
    passing = bench.shop.caller()
    before = len(bench.sizes())
    sending = threading.Thread(target=lambda: _ignore(passing, "tasks.digest.live.delay().id"))
    sending.start()
    wait_for(lambda: len(bench.sizes()) > before + 20, 30, "some of the file is sent")
    os.kill(passing.pid, signal.SIGKILL)
    sending.join(20)
    there = set(bench.sizes())
    input_before = bench.store.client.info("stats")["total_net_input_bytes"]
    assert bench.call() == digest
    again = bench.store.client.info("stats")["total_net_input_bytes"] - input_before
    new = sum(size for name, size in bench.sizes().items() if name not in there)
    assert again < new + 4 * MEGABYTE, "what was there was sent once more"


def _ignore(caller: Caller, expression: str) -> None:
    try:
        caller.do(expression)
    except (AssertionError, AutoceleryError, OSError, ValueError):
        return


def test_a_file_that_is_edited_while_it_is_sent_arrives_as_it_was_at_one_moment(bench: Bench) -> None:
    bench.fill()
    before = len(bench.sizes())
    sent: list[str] = []
    sending = threading.Thread(target=lambda: sent.append(bench.caller.send("digest")))
    sending.start()
    wait_for(lambda: len(bench.sizes()) > before + 5, 30, "some of the file is sent")
    versions = {bench.digest(), bench.change(SIZE - 10)}
    sending.join(60)
    assert bench.shop.result(sent[0], 120) in versions
    assert bench.call() == bench.digest()


def test_a_chunk_that_was_altered_in_the_store_is_refused(bench: Bench) -> None:
    digest = bench.fill(8 * MEGABYTE)
    here = bench.sizes()
    task_id = bench.caller.send("digest", countdown=2)
    chunk = next(name for name, size in bench.sizes().items() if name not in here and size > CHUNK_MAX // 8)
    bench.store.client.set(chunk, b"\0" + os.urandom(bench.sizes()[chunk] - 1))
    with pytest.raises(SnapshotInvalid, match="contradicts its digest"):
        bench.shop.result(task_id, 60)
    assert bench.half_written() == []
    again = bench.shop.caller()
    assert bench.shop.result(again.send("digest"), 60) == digest


def test_a_worker_without_room_for_a_file_says_so_and_keeps_nothing_of_it(bench: Bench) -> None:
    digest = bench.fill(16 * MEGABYTE)
    [agent] = family_of(bench.worker.pid).agents
    with limited_files(agent.pid, 8 * MEGABYTE):
        with pytest.raises(DiskFull, match="AUTOCELERY_CACHE_MAX"):
            bench.call()
        assert bench.half_written() == []
    assert bench.call() == digest


def test_a_snapshot_that_is_larger_than_the_cache_is_refused_and_the_setting_named(bench: Bench) -> None:
    bench.fill(16 * MEGABYTE)
    small = bench.shop.worker("small", "-c", "1", "-Q", "small", AUTOCELERY_CACHE_MAX="10m")
    with pytest.raises(SnapshotTooLarge, match=r"16\.\d MB.*10\.0 MB.*AUTOCELERY_CACHE_MAX"):
        bench.shop.result(bench.caller.send("digest", queue="small"), 60)
    assert psutil.pid_exists(small.pid)


def test_a_cache_with_room_for_one_version_of_a_file_has_one_at_a_time(bench: Bench) -> None:
    bench.fill(16 * MEGABYTE)
    bench.shop.worker(
        "narrow", "-c", "1", "-Q", "narrow", AUTOCELERY_CACHE_MAX="40m", AUTOCELERY_WARM_HOSTS="0"
    )
    folder = bench.shop.home / "cache" / "worker"
    most = 0
    for number in range(6):
        digest = bench.change(number * MEGABYTE)
        assert bench.shop.result(bench.caller.send("digest", queue="narrow"), 60) == digest
        [place] = folder.glob("narrow@*")
        most = max(most, disk(place))
    assert most <= 40 * MEGABYTE * 1.05


def disk(folder: Path) -> int:
    """Return the bytes of the files in ``folder``, each once however many names it has."""
    found: dict[int, int] = {}
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                status = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            found[status.st_ino] = status.st_size
    return sum(found.values())


def test_a_terminal_shows_how_far_files_are_and_a_pipe_shows_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.fill(32 * MEGABYTE)
    environment = {**os.environ, **bench.shop.environment}
    command = [sys.executable, "-m", "autocelery", "-A", "shop"]
    with Terminal([*command, "call", "shop.tasks.digest"], bench.shop.top, environment) as terminal:
        assert terminal.ended(60) == 0, terminal.shown
        assert re.search(r"reading data files .*32\.0 MiB", terminal.shown)
        assert "sending files" in terminal.shown
    bench.fill(32 * MEGABYTE)
    done = subprocess.run(
        [*command, "call", "shop.tasks.digest"],
        cwd=bench.shop.top,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip().strip('"') == bench.digest()
    assert "files" not in done.stderr
    snapshot = bench.caller.do("auto.snapshot().id")
    place = tmp_path / "as-it-was"
    checkout = [*command, "snapshots", "checkout", snapshot, str(place)]
    with Terminal(checkout, bench.shop.top, environment) as terminal:
        assert terminal.ended(60) == 0, terminal.shown
        assert "fetching files" in terminal.shown
    assert [each.name for each in tmp_path.iterdir()] == ["as-it-was"], "and nothing else is left"
    checked_out = place / "tree" / "shop" / "data.bin"
    assert checked_out.read_bytes() == bench.data.read_bytes()
    assert checked_out.stat().st_nlink == 1
    remove_tree(place)


def test_a_checkout_without_room_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.fill(8 * MEGABYTE)
    snapshot = bench.caller.do("auto.snapshot().id")
    passing = bench.shop.caller()
    call = (
        "__import__('autocelery._publish.history', fromlist=['checkout'])"
        f".checkout(auto, {snapshot!r}, __import__('pathlib').Path({str(tmp_path / 'out')!r}))"
    )
    with limited_files(passing.pid, 4 * MEGABYTE), pytest.raises(DiskFull):
        passing.do(call)
    assert list(tmp_path.iterdir()) == []
