"""A hundred kills of three instances of beat, and clocks that jump by an hour; each seed is a storm of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import beat_storms, beats
from tests.beat_storms import Storm

pytestmark = [pytest.mark.stress, pytest.mark.timeout(3600)]

HARMS = ["kill"] * 60 + ["freeze"] * 40 + ["cut"] * 10 + ["hour"] * 3 + ["back"] * 6


@pytest.mark.parametrize("seed", [1, 2])
def test_each_tick_is_sent_once_through_a_hundred_kills_and_jumps_of_an_hour(
    seed: int, tmp_path: Path, postgres_database: str, redis_url: str, redis_prefix: str
) -> None:
    broker = beats.on_redis(redis_url, redis_prefix)
    with beats.fleet(tmp_path, postgres_database, beat_storms.ENTRIES, broker) as fleet:
        toll = Storm(fleet, seed, HARMS).run()
    print(f"\nseed {seed}: {toll}")
    assert toll.ticks[beat_storms.EVERY] > 3 * beat_storms.HOUR
