"""A zygote that has imported packages may fork for an overlay only if it would have imported the same with it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import subprocess
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


def with_plugins(folder: Path, group: str) -> Path:
    place = overlay_with(folder, "added_module.py", "Added.Package-1.0.dist-info/entry_points.txt")
    told = f"[console_scripts]\nadded = added_module:main\n\n[{group}]\nadded = added_module\n"
    next(place.glob("*.dist-info")).joinpath("entry_points.txt").write_text(told)
    return place


def test_plugins_count_for_whom_they_were_looked_for(noticing: Noticing, tmp_path: Path) -> None:
    for_celery = with_plugins(tmp_path / "one", "celery.extensions")
    for_markdown = with_plugins(tmp_path / "other", "markdown.extensions")
    assert is_indifferent(noticing.told(), for_celery)
    importlib.metadata.entry_points(group="celery.extensions")
    assert not is_indifferent(noticing.told(), for_celery)
    assert is_indifferent(noticing.told(), for_markdown)


def test_who_looks_through_everything_may_have_looked_for_anything(
    noticing: Noticing, tmp_path: Path
) -> None:
    list(importlib.metadata.distributions())
    assert not is_indifferent(noticing.told(), with_plugins(tmp_path, "markdown.extensions"))


def test_what_celery_looks_for_while_it_is_imported_is_known() -> None:
    code = (
        "import json, sys; from autocelery_host.noticing import Noticing; seen = Noticing(); "
        "sys.meta_path.append(seen); import autocelery_host.forking as forking; forking.preload(forking.ALWAYS); "
        "print(json.dumps(seen.told()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert {"kombu.serializers", "kombu.matchers"} <= set(told["groups"])
    assert not told["scanned"]
