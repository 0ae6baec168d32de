"""Guarantees 1 and 2: a call runs the bytes that it was sent with, in a process that has seen no others."""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from autocelery.errors import UntrustedSnapshot
from tests.conftest import remove_tree
from tests.shops import family_of
from tests.waiting import PATIENCE, wait_for
from tests.workers import Worker

_TEMPLATE = Path(__file__).parents[1] / "projects" / "versions"
_VERSIONS = 10
_CALLS = 1000


class Tree:
    """A working tree with the project of versions, and the project as this process has imported it."""

    def __init__(self, folder: Path, package: str, settings: dict[str, Any]) -> None:
        self.folder, self.package = folder, package
        shutil.copytree(_TEMPLATE, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / package / "settings.json").write_text(json.dumps({"celery": settings}))
        subprocess.run(["git", "init", "-q", str(folder)], check=True)

    def write(self, version: int) -> None:
        """Edit the three places that say which version this is."""
        for name in ("tasks.py", "deep/__init__.py"):
            path = self.folder / self.package / name
            path.write_text(re.sub(r"(?m)^VERSION = \d+$", f"VERSION = {version}", path.read_text()))
        (self.folder / self.package / "version.txt").write_text(str(version))

    def load(self) -> None:
        """Import the project into this process."""
        sys.path.insert(0, str(self.folder))
        self.tasks = importlib.import_module(f"{self.package}.tasks")
        self.celery = importlib.import_module(f"{self.package}.celery")

    def unload(self) -> None:
        """Forget it again."""
        self.celery.app.close()
        sys.path.remove(str(self.folder))
        for name in [each for each in sys.modules if each.split(".")[0] == self.package]:
            del sys.modules[name]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="ac-"))
    yield folder
    remove_tree(folder)


@pytest.fixture
def settings(redis_url: str, redis_prefix: str, place: Path) -> dict[str, Any]:
    """The app's settings: a broker and a backend of the test's own."""
    (place / "markers").mkdir()
    return {
        "broker_url": redis_url,
        "result_backend": redis_url,
        "broker_transport_options": {"global_keyprefix": redis_prefix},
        "result_backend_transport_options": {"global_keyprefix": redis_prefix},
        "broker_connection_retry_on_startup": True,
        "marker_folder": str(place / "markers"),
    }


@pytest.fixture
def tree(place: Path, settings: dict[str, Any]) -> Iterator[Tree]:
    """The working tree of this process, which is the client."""
    made = Tree(place / "tree", f"versions_{secrets.token_hex(4)}", settings)
    made.load()
    yield made
    made.unload()


@pytest.fixture
def worker(tree: Tree, place: Path) -> Iterator[Worker]:
    """A stock worker of two processes that keep a host of each version; its deployed code is version 0."""
    deployed = place / "deployed"
    shutil.copytree(tree.folder, deployed)
    made = Worker(deployed, tree.package, "versions", "-c", "2", AUTOCELERY_WARM_HOSTS=str(_VERSIONS + 2))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.mark.slow
def test_ten_versions_interleaved_a_thousand_times_never_cross(tree: Tree, worker: Worker) -> None:
    pids, choose = worker.pids(), random.Random(1)
    snapshots = []
    for version in range(_VERSIONS):
        tree.write(version)
        snapshots.append(tree.celery.auto.snapshot())
    assert len({each.id for each in snapshots}) == _VERSIONS
    sent = []
    for number in range(_CALLS):
        version = choose.randrange(_VERSIONS)
        if number % 10 == 0:
            tree.write(version)
            sent.append((version, tree.tasks.version.live.delay()))
        else:
            sent.append((version, tree.tasks.version.using(snapshots[version]).delay()))
    crossed = [each for each in sent if each[1].get(timeout=120) != [each[0]] * 3]
    assert crossed == []
    assert tree.tasks.version.delay().get(timeout=PATIENCE) == [0, 0, 0]  # deployed code is what it was
    assert worker.pids() == pids


def test_an_edit_is_seen_by_the_next_call_and_by_no_call_before_it(tree: Tree, worker: Worker) -> None:
    results = []
    for version in range(1, 20):
        tree.write(version)
        signature = tree.tasks.version.live.s()
        results.append((version, tree.tasks.version.live.delay()))
        tree.write(version + 1)
        results.append((version, signature.apply_async()))
    assert [result.get(timeout=PATIENCE) for _, result in results] == [
        [version] * 3 for version, _ in results
    ]


def test_what_a_task_sends_is_of_its_own_version(tree: Tree, worker: Worker) -> None:
    sent = []
    for version in (1, 2, 3):
        tree.write(version)
        live = tree.tasks.version.live
        sent.append((version, tree.tasks.version_of_another.live.delay()))
        sent.append((version, (live.s() | live.s() | live.s()).apply_async()))
    tree.write(9)
    for version, result in sent:
        value = result.get(timeout=PATIENCE)
        if isinstance(value, str):
            value = tree.celery.app.AsyncResult(value).get(timeout=PATIENCE)
        assert value == [version] * 3


def test_twenty_threads_of_one_client_each_get_the_version_they_sent(tree: Tree, worker: Worker) -> None:
    snapshots, one_at_a_time = [], threading.Lock()
    for version in range(5):
        tree.write(version)
        snapshots.append(tree.celery.auto.snapshot())

    def call(thread: int) -> list[tuple[int, list[int]]]:
        try:
            return answers_of(thread)
        finally:
            let_go_of_backend(tree.celery.app)

    def answers_of(thread: int) -> list[tuple[int, list[int]]]:
        answers = []
        for turn in range(5):
            version = (thread + turn) % 5
            with tree.celery.auto.live(snapshots[version]):
                pinned = tree.tasks.version.delay()
            with one_at_a_time:
                tree.write(version)
                edited = tree.tasks.version.live.delay()
            answers += [(version, each.get(timeout=PATIENCE)) for each in (pinned, edited)]
        return answers

    with ThreadPoolExecutor(20) as threads:
        answers = [each for some in threads.map(call, range(20)) for each in some]
    assert [each for each in answers if each[1] != [each[0]] * 3] == []
    assert len(answers) == 200


def let_go_of_backend(app: Any) -> None:
    """Close the connections of the backend that this thread has for itself: an older redis leaves them open."""
    gc.collect()  # results that die later would connect again
    app.backend.result_consumer.stop()
    app.backend.client.connection_pool.disconnect()


def test_a_worker_that_starts_after_the_call_runs_what_was_sent(tree: Tree) -> None:
    tree.write(4)
    result = tree.tasks.version.live.delay()
    tree.write(5)
    worker = Worker(tree.folder, tree.package, "late", "-c", "1")
    try:
        worker.start()
        assert result.get(timeout=PATIENCE) == [4, 4, 4]
    finally:
        worker.stop()


class OtherClient:
    """Somebody else: a process of its own, with a key and a working tree of its own."""

    def __init__(self, tree: Tree, place: Path) -> None:
        self.tree = Tree.__new__(Tree)
        self.tree.folder, self.tree.package = place / "other", tree.package
        shutil.copytree(tree.folder, self.tree.folder)
        self.environment = {**os.environ, "AUTOCELERY_HOME": str(place / "home-of-another")}

    def run(self, *command: str) -> str:
        """Run Python as this client; returns what it printed."""
        ended = subprocess.run(
            [sys.executable, *command],
            check=False,
            cwd=self.tree.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def call(self) -> str:
        """Send a live call of the tree as it is; returns its result, or its error's name."""
        return self.run(
            "-c",
            f"from {self.tree.package}.tasks import version\n"
            f"outcome = version.live.delay().get(timeout={PATIENCE}, propagate=False)\n"
            "print(outcome if isinstance(outcome, list) else type(outcome).__name__)",
        )


def test_only_trusted_clients_run_and_each_runs_its_own(tree: Tree, worker: Worker, place: Path) -> None:
    other = OtherClient(tree, place)
    tree.write(1)
    other.tree.write(2)
    assert tree.tasks.version.live.delay().get(timeout=PATIENCE) == [1, 1, 1]
    assert other.call() == UntrustedSnapshot.__name__
    public = other.run("-m", "autocelery", "keys", "export")
    trust = [sys.executable, "-m", "autocelery", "keys", "trust", public]
    subprocess.run(trust, check=True, capture_output=True, timeout=PATIENCE)
    for version in (3, 4):
        tree.write(version)
        other.tree.write(version + 10)
        assert tree.tasks.version.live.delay().get(timeout=PATIENCE) == [version] * 3
        assert other.call() == str([version + 10] * 3)


def test_a_snapshot_that_another_client_made_of_the_same_tree_needs_his_key_too(
    tree: Tree, worker: Worker, place: Path
) -> None:
    other = OtherClient(tree, place)
    assert tree.tasks.version.live.delay().get(timeout=PATIENCE) == [0, 0, 0]
    assert other.call() == UntrustedSnapshot.__name__
    assert tree.tasks.version.live.delay().get(timeout=PATIENCE) == [0, 0, 0]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="what is open is read from /proc")
def test_nothing_passes_from_one_snapshots_host_to_another_or_into_the_worker(
    tree: Tree, worker: Worker, place: Path
) -> None:
    described, marker = tree.tasks.described, f"marker{secrets.token_hex(4)}"
    tree.write(1)
    before = described.live.delay().get(timeout=PATIENCE)
    tree.write(2)
    polluted = [tree.tasks.pollute.live.delay(marker) for _ in range(4)]
    hosts = {each.get(timeout=PATIENCE) for each in polluted}
    inside = wait_for(lambda: _described_in(described.live, hosts))
    assert marker in str(inside), "the pollution itself has to work"

    tree.write(3)
    after = [described.live.delay().get(timeout=PATIENCE) for _ in range(4)]
    assert hosts.isdisjoint(each["pid"] for each in after)
    assert _comparable(after[0]) == _comparable(before)  # the first call of a host, both
    deployed = [described.delay().get(timeout=PATIENCE) for _ in range(4)]
    assert marker not in str(after) + str(deployed)
    assert all(each["cwd"] != "/" for each in [*after, *deployed])


def test_what_a_task_leaves_beside_its_code_is_found_by_no_other_version(tree: Tree, worker: Worker) -> None:
    """So many that the folders of idle ones are used again."""
    for version in range(1, 31):
        tree.write(version)
        found = tree.tasks.litter.live.delay(f"litter-{version}").get(timeout=PATIENCE)
        assert [{name for name in each if "litter" in name} for each in found] == [{f"litter-{version}"}] * 2


@pytest.mark.parametrize("how", ["deleted", "a link", "one file", "written to"])
def test_what_a_task_did_to_its_own_folder_no_later_host_meets(tree: Tree, how: str) -> None:
    tree.write(7)
    worker = Worker(tree.folder, tree.package, "spoiled", "-c", "1", AUTOCELERY_WARM_HOSTS="0").start()
    try:
        tree.tasks.spoil.live.delay(how).get(timeout=PATIENCE)
        wait_for(lambda: not family_of(worker.pid).hosts, what="its host has ended")
        assert tree.tasks.shipped.live.delay().get(timeout=PATIENCE) == "7"
    finally:
        worker.stop()


def _described_in(described: Any, hosts: set[int]) -> dict[str, Any] | None:
    found: dict[str, Any] = described.delay().get(timeout=PATIENCE)
    return found if found["pid"] in hosts else None


def _comparable(process: dict[str, Any]) -> dict[str, Any]:
    """Return a host's description without its pid, with its snapshot's id left out of its paths."""
    text = re.sub(r"[0-9a-f]{64}", "<snapshot>", json.dumps({**process, "pid": 0}))
    comparable: dict[str, Any] = json.loads(text)
    return comparable
