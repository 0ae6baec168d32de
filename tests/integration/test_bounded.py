"""Edits without end leave processes, file descriptors, disk and memory as they were after the first few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.growth import assert_bounded, edited_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_hundreds_of_edits_leave_a_worker_as_it_was_after_the_first_fifty(tmp_path: Path) -> None:
    with edited_shop(tmp_path) as shop:
        assert_bounded(shop, 300)
