"""What a task prints and logs reaches who asked for it while it runs, and costs nobody anything else."""

from __future__ import annotations

import os
import re
import secrets
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from autocelery._blobs import BlobStore, open_store, output
from tests import services
from tests.integration.test_store_trouble import Store
from tests.printers import Told, printing_shop, text_of, watched
from tests.shops import Caller, Shop
from tests.stopwatch import Stopwatch
from tests.waiting import wait_for
from tests.workers import Worker

pytestmark = pytest.mark.slow

#: What is printed is shown within so many seconds.
PROMPT = 0.5
#: What one call's output may take of the store, in bytes: sixteen chunks of 64 KB, and what names them.
RING = 16 * (65_536 + 4096)


class Place:
    """A shop with its worker and a caller, on one kind of blob store. Owns them."""

    def __init__(self, owned: ExitStack, folder: Path, redis_url: str, store: str) -> None:
        self.prefix = f"ac-{secrets.token_hex(6)}:"
        owned.callback(services.remove_redis_keys, self.prefix)
        self.shop = printing_shop(Shop(folder, redis_url, redis_url))
        owned.callback(self.shop.close)
        options = {"global_keyprefix": self.prefix}
        self.shop.configure(
            task_default_queue=self.prefix.strip(":"),
            broker_transport_options=options,
            result_backend_transport_options=options,
        )
        url = (
            f"{redis_url}?autocelery_prefix={self.prefix}blobs:"
            if store == "redis"
            else str(folder / "blobs")
        )
        self.shop.configure(autocelery_store=url)
        self.shop.configure(worker_redirect_stdouts=store == "redis")  # both ways in which a worker may print
        self.store: BlobStore = open_store(url)
        owned.callback(self.store.close)
        self.worker: Worker = self.shop.worker("output", "-c", "3")
        self.caller: Caller = self.shop.caller()
        assert self.caller.do("tasks.nothing.live.delay().get(timeout=60)") == 1

    def left(self) -> list[str]:
        """Return the names of what is in the store of calls' output and of listeners."""
        return self.store.names(".out") + self.store.names(".hear")


@pytest.fixture(scope="module", params=["redis", "folder"])
def place(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with ExitStack() as owned:
        yield Place(owned, tmp_path_factory.mktemp("output"), redis_url, request.param)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def seen(place: Place, task: str, gate: Path, *args: object) -> tuple[list[Told], list[Told]]:
    """Return what was seen of a call while it waited for the gate, and after that."""
    given = (*args, str(gate))
    place.caller.do(f"kept.update(result=tasks.{task}.live.apply_async({given!r}, output=True))")
    last = ("from C\n", "child complained\n", "in two lines\n")
    before, after = place.caller.do(f"tasks.seen(kept['result'], {str(gate)!r}, *{last!r})")
    return [Told(*each) for each in before], [Told(*each) for each in after]


def test_what_a_task_prints_and_logs_is_seen_within_half_a_second_while_it_runs_each_on_its_stream(
    place: Place, gate: Path
) -> None:
    with Stopwatch() as watch:
        running, after = seen(place, "talk", gate)
    printed = text_of(running, "stdout")
    assert re.sub(r"[\d.]+", "T", printed).split("\n") == [
        "printed T",
        "child",
        "after the child",
        "from C",
        "",
    ]
    complained = text_of(running, "stderr")
    assert re.sub(r"[\d.]+", "T", complained).split("\n") == ["complained T", "child complained", ""]
    assert [(each.of, each.text) for each in running if each.stream == "log"] == [
        ("WARNING shop.tasks", "to the task's logger\n"),
        ("ERROR plain", "to a plain one\nin two lines\n"),
    ]
    assert [(each.stream, each.text) for each in after] == [("stdout", "at last")]
    first = next(each for each in running if each.text.startswith("printed"))
    late = first.at - float(first.text.split()[1])
    assert late / watch.slowdown < PROMPT, (late, str(watch))
    assert place.caller.do("kept['result'].get(timeout=60)") == 42


def test_the_workers_log_has_what_it_has_without_a_listener(place: Place, gate: Path) -> None:
    """Two processes write to one log, so a piece of one may stand within a piece of the other: letters are counted."""

    def letters(text: str) -> Counter[str]:
        text = re.sub(r"^\[.*Task .* received\n", "", text, flags=re.M)
        return Counter(re.sub(r"\[\d{4}-.*?\] |[\da-f-]{36}|[\d.]{3,}|\s", "", text))

    def logged(output: bool, name: str) -> Counter[str]:
        done = gate.with_name(name)
        done.touch()
        before = len(place.worker.text())
        place.caller.do(f"tasks.talk.live.apply_async(({str(done)!r},), output={output}).get(timeout=60)")
        wait_for(lambda: letters(place.worker.text()[before:]) >= least, what="the worker has logged it")
        return letters(place.worker.text()[before:])

    printed = ("printed", "complained", "child", "child complained", "after the child", "from C", "at last")
    least = letters(
        "".join(printed) + "to the task's logger to a plain one in two lines shop.tasks.talk succeeded"
    )
    assert logged(True, "with") == logged(False, "without")


def test_of_several_calls_at_once_each_piece_says_whose_it_is(place: Place, gate: Path) -> None:
    gate.touch()
    told, results = watched(place.caller, *(("say", f"said by {number}", str(gate)) for number in range(6)))
    assert results == [f"said by {number}" for number in range(6)]
    by_call: dict[str, str] = {}
    for each in told:
        by_call[each.task_id] = by_call.get(each.task_id, "") + each.text
    assert sorted(by_call.values()) == [f"said by {number}\n" * 2 for number in range(6)]


def test_a_call_that_is_retried_is_heard_to_its_last_run(place: Place) -> None:
    told, results = watched(place.caller, ("again",))
    assert (text_of(told, "stdout"), results) == ("try 0\ntry 1\ntry 2\n", ["done"])


def test_every_part_of_a_canvas_that_was_asked_is_heard(place: Place) -> None:
    told, results = place.caller.do("tasks.composed()")
    assert told == sorted(f"{word}\n" for word in ("one", "two", "three", "head", "other head", "body"))
    assert results == ["three", "body"]


def test_what_a_fork_of_the_task_prints_is_heard_and_bytes_are_too(place: Place) -> None:
    told, _ = watched(place.caller, ("fork",))
    assert text_of(told, "stdout") in ("from a fork\n", "from a fork\nbytes\n")
    assert ("bytes" in text_of(told, "stdout")) is not place.shop.settings["worker_redirect_stdouts"]


def test_the_last_words_of_a_call_that_fails_or_dies_are_heard(place: Place) -> None:
    for task, words in (("fail", "before it fails\n"), ("die", "before it dies\n")):
        heard = f"[p.text for p in auto.stream(tasks.{task}.live.apply_async(output=True))]"
        assert "".join(place.caller.do(heard)) == words


def test_what_outlives_its_call_prints_to_the_log_and_not_to_the_next_caller(
    place: Place, gate: Path
) -> None:
    place.caller.do(f"tasks.leave_behind.live.delay({str(gate)!r}).get(timeout=60)")
    other = gate.with_name("other")
    for _ in range(6):
        told, _ = watched(place.caller, ("leave_behind", str(other)))
        assert text_of(told, "stdout") == "in time\n"
    gate.touch()
    other.touch()
    told, _ = watched(place.caller, *([("say", "said", str(gate))] * 3))
    assert {line for each in told for line in each.text.split()} == {"said"}
    wait_for(
        lambda: place.worker.text().count("too late from a child") >= 7, what="the children are in the log"
    )
    wait_for(lambda: place.worker.text().count("too late from a thread") >= 7, what="so are the threads")


def test_what_was_read_is_gone_from_the_store(place: Place, gate: Path) -> None:
    gate.touch()
    before = set(place.store.names(".out"))
    watched(place.caller, ("talk", str(gate)), ("again",))
    assert set(place.store.names(".out")) - before == set()


def test_a_call_that_nobody_listens_to_leaves_nothing_in_the_store(place: Place, gate: Path) -> None:
    gate.touch()
    before = place.store.names(".out")
    assert place.caller.do(f"tasks.talk.live.delay({str(gate)!r}).get(timeout=60)") == 42
    assert place.store.names(".out") == before


def test_a_flood_leaves_a_bounded_store_and_says_how_much_is_missing(place: Place, gate: Path) -> None:
    other = place.shop.caller()
    other.do(f"kept.update(result=tasks.flood.live.apply_async((200, {str(gate)!r}), output=True))")
    sizes = []

    def the_end_is_stored() -> bool:
        found = place.store.get(place.store.names(".out"))
        sizes.append(sum(map(len, found.values())))
        return any(b"the end" in content for content in found.values())

    wait_for(the_end_is_stored, 120, "two hundred megabytes are printed")
    assert max(sizes) <= RING
    gate.touch()
    told = other.do("[[p.stream, p.text] for p in auto.stream(kept['result'])]")
    notes = "".join(text for stream, text in told if stream == "note")
    dropped = re.findall(r"^\[([\d.]+) MB of output was dropped here\]$", notes, re.M)
    assert 180 < sum(map(float, dropped)) < 200
    assert sum(len(text) for _, text in told) <= RING
    assert told[-1][1].endswith("the end\n")
    assert other.do("kept['result'].get(timeout=60)") > 0


def test_a_flood_that_is_heard_does_its_neighbours_no_harm(place: Place, gate: Path) -> None:
    def median_beside_a_flood(output: bool) -> float:
        place.caller.do(f"kept.update(flood=tasks.flood.live.apply_async((100,), output={output}))")
        took = []
        while not place.caller.do("kept['flood'].ready()"):
            took.append(place.caller.do(_TIMED))
        return statistics.median(took)

    place.caller.do(_TIMED)
    unheard = median_beside_a_flood(output=False)
    assert median_beside_a_flood(output=True) < 3 * unheard + 0.05


_TIMED = (
    "(lambda clock: [clock(), tasks.nothing.live.delay().get(timeout=60), clock()])"
    "(__import__('time').perf_counter)"
)
_TIMED = f"(lambda told: told[2] - told[0])({_TIMED})"


def test_a_caller_that_is_killed_costs_nothing_its_task_ends_right_and_its_entries_go(
    place: Place, gate: Path
) -> None:
    doomed = place.shop.caller()
    call = doomed.do(
        f"kept.update(result=tasks.flood.live.apply_async((4, {str(gate)!r}), output=True)) or kept['result'].id"
    )
    its = {*output.everything(call), output.hear(doomed.do("auto.listener._channel"))}
    wait_for(lambda: len(its.intersection(place.left())) >= 4, what="some output is in the store")
    doomed.kill()
    wait_for(lambda: its.isdisjoint(place.left()), 30, "its output is gone, and the sign that it listened")
    gate.touch()
    assert place.shop.result(call) > 0
    assert its.isdisjoint(place.left())


def test_a_call_goes_right_though_the_store_is_killed_in_the_middle(
    redis_url: str, redis_prefix: str, tmp_path: Path
) -> None:
    with ExitStack() as owned:
        store = Store()
        owned.callback(store.close)
        shop = printing_shop(Shop(tmp_path, redis_url, redis_url, AUTOCELERY_STORE=store.url))
        owned.callback(shop.close)
        options = {"global_keyprefix": redis_prefix}
        shop.configure(broker_transport_options=options, result_backend_transport_options=options)
        shop.configure(task_default_queue=redis_prefix.strip(":"))
        shop.worker("gone", "-c", "1")
        caller, gate = shop.caller(), tmp_path / "gate"
        caller.do(f"kept.update(result=tasks.flood.live.apply_async((8, {str(gate)!r}), output=True))")
        wait_for(lambda: len(list(store.client.scan_iter(match="*.out"))) >= 4, what="some output is there")
        store.kill()
        gate.touch()
        with Stopwatch() as watch:
            assert caller.do("kept['result'].get(timeout=60)") < 60
        assert watch.seconds < 5, watch
        store.start()
        assert caller.do("[p.text for p in auto.stream(kept['result'])]") is not None


def test_a_script_of_another_process_is_told_that_nobody_asked(place: Place) -> None:
    asked = "auto.stream(tasks.nothing.live.delay())"
    with pytest.raises(Exception, match="output=True"):
        place.caller.do(asked)


_MAP = """
from shop.celery import auto
print(list(auto.map(lambda n: print("item", n) or n * n, range(3), output=True)))
"""


def test_map_shows_what_its_function_prints(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MAP],
        cwd=place.shop.top,
        env={**os.environ, **place.shop.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    *lines, last = done.stdout.splitlines()
    assert last == "[0, 1, 4]"
    assert sorted(line.split("] ")[-1] for line in lines) == ["item 0", "item 1", "item 2"]
