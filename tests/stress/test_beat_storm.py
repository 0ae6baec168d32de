"""Three beats, a hundred kills, freezes, cuts and jumps of the clock, thousands of ticks: each once."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests import beats
from tests.beats import Fleet
from tests.integration.test_beat import terminate_connections

pytestmark = pytest.mark.stress

KEYS = [f"every-{number}" for number in range(5)]
ENTRIES = {key: {**beats.ENTRY, "schedule": 1} for key in KEYS}
#: A frozen instance, and a lost connection, for each two that are killed; now and then the clock jumps by an hour.
HARMS = ("kill", "kill", "freeze", "cut")
HOUR = 3600
ROUNDS = 100


@pytest.fixture
def fleet(tmp_path: Path, postgres_database: str, redis_url: str, redis_prefix: str) -> Iterator[Fleet]:
    with beats.fleet(tmp_path, postgres_database, ENTRIES, beats.on_redis(redis_url, redis_prefix)) as made:
        yield made


def test_a_hundred_harms_and_each_tick_is_sent_once(
    fleet: Fleet, postgres_database: str, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    dice = random.Random(7)
    running = [fleet.start(BEAT_CLOCK=str(clock)) for _ in range(3)]
    fleet.wait_for(1, KEYS[0])
    done: Counter[str] = Counter()
    for number in range(ROUNDS):
        harm = {30: "forward", 70: "back"}.get(number) or dice.choice(HARMS)
        before = len(fleet.sent(KEYS[0]))
        victim = dice.choice(running)
        if harm == "kill":
            victim.end()
            running.remove(victim)
            running.append(fleet.start(BEAT_CLOCK=str(clock)))
        elif harm == "freeze":
            victim.send(signal.SIGSTOP)
        elif harm == "cut":
            terminate_connections(postgres_database)
        else:
            clock.write_text(str(HOUR) if harm == "forward" else "0")
        done[harm] += 1
        if harm == "back":  # by an hour, in which nothing is due: it is put forward again
            clock.write_text(str(HOUR))
        fleet.wait_for(before + (HOUR if harm == "forward" else dice.randint(1, 3)), KEYS[0], deadline=600)
        victim.send(signal.SIGCONT)
    for key in KEYS:
        found = fleet.wait_for(len(fleet.sent(KEYS[0])), key)
        moments = [datetime.fromisoformat(each.tick) for each in found]
        assert {(after - earlier).total_seconds() for earlier, after in pairwise(moments)} == {1.0}, key
        assert len({each.id for each in found}) == len(found)
    print(f"{dict(done)}: {sum(len(fleet.sent(key)) for key in KEYS)} ticks, each once")
