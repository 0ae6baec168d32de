"""What would fail is told by ``plan`` before anything is sent: forty defects, against real workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.defects import running
from benchmarks.rows.plan_defects import BAR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_plan_finds_what_was_seeded_names_it_and_sends_nothing(redis_url: str, tmp_path: Path) -> None:
    measured = running.measure(tmp_path, redis_url)
    assert measured.sound.problems == ()
    assert measured.sound.exit_code == 0
    assert not measured.was_sent
    assert len(measured.told) == 40
    missed = {defect.what: told for defect, told in measured.told if not told.finds(defect)}
    assert len(measured.found) >= BAR, missed
    silent = {
        defect.what for defect, told in measured.told if defect.level != "warning" and not told.exit_code
    }
    assert silent <= missed.keys()
