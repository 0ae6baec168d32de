"""An index, a project, and a place where packages are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit.locks.making import Index


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index with a few packages in two versions."""
    index = Index(tmp_path / "index")
    for version in ("1.0", "2.0"):
        index.add("alpha", version)
        index.add("beta", version, "alpha", "gamma; extra == 'more'")
    index.add("gamma", "1.0")
    index.add("tool", "1.0", "gamma")
    return index


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on the import path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder
