"""A worker's cache keeps to its limit, whatever goes through it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache_rounds import disk, rounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MEGABYTE = 2**20
LIMIT = 45 * MEGABYTE
#: How far a cache may be over its limit, in parts of it.
ALLOWED = 0.05


def assert_kept(folder: Path, count: int, limit: int) -> None:
    """Send ``count`` snapshots through a worker's cache and look at its disk after each."""
    most = 0
    for number, laid_out in rounds(folder, count=count, limit=limit, seed=count):
        assert (laid_out / "tree" / "shop").is_dir()
        most = max(most, disk(folder / "home" / "cache" / "worker"))
        assert most <= limit * (1 + ALLOWED), f"snapshot {number}: {most / MEGABYTE:.1f} MB"
    assert most > limit * 0.8, "it never came near its limit, and this shows nothing"


def test_a_cache_is_never_over_its_limit_by_more_than_five_percent(tmp_path: Path) -> None:
    assert_kept(tmp_path, 80, LIMIT)
