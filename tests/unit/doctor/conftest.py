"""A project to be looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.patients import Patient


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """A small healthy project of the test's own."""
    made = Patient(tmp_path)
    made.settings()
    return made
