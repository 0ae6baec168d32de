"""A zygote that has imported packages may fork for an overlay only if it would have imported the same with it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocelery._hosting.by_environment import is_indifferent
from autocelery_host.noticing import Noticing
from tests.wheels import installed, make_wheel


@pytest.fixture
def noticing() -> Iterator[Noticing]:
    noticing = Noticing()
    sys.meta_path.append(noticing)
    yield noticing
    sys.meta_path.remove(noticing)


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    return overlay_with(tmp_path, "added_module.py")


def overlay_with(folder: Path, *files: str) -> Path:
    wheel = make_wheel(folder / "wheels", "Added.Package", "1.0", dict.fromkeys(files, ""))
    return installed([wheel], folder / "overlay")


def test_packages_that_nobody_looked_for_change_nothing(noticing: Noticing, overlay: Path) -> None:
    assert importlib.util.find_spec("something_else") is None
    assert is_indifferent(noticing.told(), overlay)


def test_a_module_that_was_loaded_or_looked_for_in_vain_counts(
    noticing: Noticing, overlay: Path, tmp_path: Path
) -> None:
    assert not is_indifferent(noticing.told(), overlay_with(tmp_path / "other", "json/extra.py"))
    with pytest.raises(ImportError):
        importlib.import_module("added_module.inner")
    assert not is_indifferent(noticing.told(), overlay)


def test_a_distribution_that_was_looked_up_counts(noticing: Noticing, overlay: Path) -> None:
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("added_package")
    assert not is_indifferent(noticing.told(), overlay)


def test_plugins_count_where_they_were_looked_for(noticing: Noticing, tmp_path: Path) -> None:
    overlay = overlay_with(tmp_path, "added_module.py", "Added.Package-1.0.dist-info/entry_points.txt")
    assert is_indifferent(noticing.told(), overlay)
    importlib.metadata.entry_points(group="celery.extensions")
    assert not is_indifferent(noticing.told(), overlay)
