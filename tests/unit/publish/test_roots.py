"""What is shipped: the working tree, and the folders outside it that code was imported from."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from autocelery._publish import roots
from autocelery.errors import ConflictingRoots


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's top that is the working directory and the only import path besides the environment."""
    top = tmp_path / "project"
    (top / "pkg").mkdir(parents=True)
    (top / "pkg" / "__init__.py").touch()
    monkeypatch.chdir(top)
    environment = [each for each in sys.path if "site-packages" in each or "lib/python" in each]
    monkeypatch.setattr(sys, "path", [str(top), *environment])
    return Path(os.path.realpath(top))


def imported(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    name = file.parent.name if file.name == "__init__.py" else file.stem
    module = types.ModuleType(name)
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)


def test_the_import_paths_inside_the_tree_are_kept_in_their_order(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "src").mkdir()
    monkeypatch.setattr(sys, "path", [str(tree / "src"), *sys.path])
    found = roots.roots_of(tree)
    assert found.paths == ("tree/src", "tree")
    assert [root.name for root in found.roots] == ["tree"]


def test_the_working_directory_inside_the_tree_is_the_hosts_too(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree / "pkg")
    assert roots.roots_of(tree).cwd == "tree/pkg"


def test_a_folder_outside_that_a_module_was_imported_from_is_a_root_of_its_own(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(monkeypatch, tmp_path / "shared" / "shared_rates.py")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "shared")])
    found = roots.roots_of(tree)
    assert [root.name for root in found.roots] == ["tree", "root-1-shared"]
    assert found.paths == ("tree", "root-1-shared")


def test_a_folder_outside_that_nothing_was_imported_from_stays_at_home(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scripts").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path / "scripts"), *sys.path])
    assert [root.name for root in roots.roots_of(tree).roots] == ["tree"]


def test_an_editable_install_that_hooks_into_import_is_a_root(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(monkeypatch, tmp_path / "elsewhere" / "libtax" / "__init__.py")
    finder = type("Finder", (), {"__module__": "__editable___libtax_finder"})
    hook = types.ModuleType("__editable___libtax_finder")
    hook.MAPPING = {"libtax": str(tmp_path / "elsewhere" / "libtax")}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, hook.__name__, hook)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, finder])
    assert roots.roots_of(tree).paths == ("tree", "root-1-elsewhere")


def test_two_roots_that_provide_the_same_module_are_refused_with_both_places(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported(monkeypatch, tmp_path / "shared" / "rates_of_both.py")
    (tree / "rates_of_both.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "shared")])
    with pytest.raises(ConflictingRoots, match="rates_of_both") as refused:
        roots.roots_of(tree)
    assert str(tree) in refused.value.message
    assert str(tmp_path / "shared") in refused.value.message


def test_the_top_is_the_git_repository(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert roots.top_of(tmp_path / "a" / "b") == Path(os.path.realpath(tmp_path))


def test_the_top_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCELERY_ROOT", str(tmp_path / "chosen"))
    assert roots.top_of(tmp_path) == Path(os.path.realpath(tmp_path / "chosen"))


def test_without_git_the_top_is_the_nearest_folder_that_looks_like_a_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "src" / "pkg").mkdir(parents=True)
    assert roots.top_of(tmp_path / "src" / "pkg") == Path(os.path.realpath(tmp_path))
