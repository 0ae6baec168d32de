"""A thousand edits in a row leave a worker as it was after the first fifty."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.growth import assert_bounded, edited_shop

pytestmark = [pytest.mark.stress, pytest.mark.timeout(1800)]


def test_a_thousand_edits_leave_a_worker_as_it_was_after_the_first_fifty(tmp_path: Path) -> None:
    with edited_shop(tmp_path) as shop:
        assert_bounded(shop, 1000)
