"""What the tests of environments share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wheels import make_wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, ``alpha`` 1.0 alone, and a uv that knows nothing but it."""
    folder = tmp_path / "index"
    make_wheel(folder, "alpha", "1.0", {"alpha.py": "VALUE = 1\n"})
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    return folder
