"""Ten thousand snapshots through a cache of 200 MB."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_cache_limit import MEGABYTE, assert_kept

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]


def test_ten_thousand_snapshots_keep_to_the_limit(tmp_path: Path) -> None:
    assert_kept(tmp_path, 10_000, 200 * MEGABYTE)
