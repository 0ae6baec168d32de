"""Which file says what a project needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocelery._env.locks.finding import Found, found_for, named
from autocelery._snapshot import ShipRules
from autocelery.errors import ConfigurationError, LockInvalid

_ORDER = ["uv.lock", "pylock.toml", "poetry.lock", "requirements.txt", "pyproject.toml"]


def made(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        text = "[project]\ndependencies = []\n" if name == "pyproject.toml" else "version = 1\n"
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("best", range(len(_ORDER)))
def test_of_several_files_the_one_that_says_most_counts(tmp_path: Path, best: int) -> None:
    made(tmp_path, *_ORDER[best:])
    assert found_for(tmp_path, tmp_path) == Found(tmp_path / _ORDER[best], tmp_path)


def test_the_nearest_to_the_code_counts_and_none_above_the_top(tmp_path: Path) -> None:
    made(tmp_path, "requirements.txt")
    made(tmp_path / "repo", "uv.lock")
    inner = made(tmp_path / "repo" / "service" / "src")
    assert found_for(inner, tmp_path / "repo") == Found(tmp_path / "repo" / "uv.lock", tmp_path / "repo")
    made(inner.parent, "requirements.txt")
    assert found_for(inner, tmp_path / "repo").path == inner.parent / "requirements.txt"
    assert found_for(inner, inner) == Found()
    assert found_for(tmp_path / "elsewhere", tmp_path / "repo").path == tmp_path / "repo" / "uv.lock"


def test_a_pyproject_without_dependencies_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    assert found_for(tmp_path, tmp_path) == Found()


@pytest.mark.parametrize(
    ("names", "counts"),
    [(["requirements-prod.txt"], "requirements-prod.txt"), (["requirements-dev.txt"], None),
     (["requirements-prod.txt", "requirements-dev.txt"], "requirements-prod.txt"),
     (["requirements.txt", "requirements-prod.txt"], "requirements.txt"),
     (["pylock.web.toml", "pylock.dev.toml"], "pylock.web.toml")],
)  # fmt: skip
def test_the_only_one_of_its_kind_that_is_not_for_tools_counts(
    tmp_path: Path, names: list[str], counts: str | None
) -> None:
    made(tmp_path, *names)
    assert found_for(tmp_path, tmp_path).path == (tmp_path / counts if counts else None)


def test_of_several_of_a_kind_none_counts_and_they_are_told(tmp_path: Path) -> None:
    made(tmp_path, "requirements-a.txt", "requirements-b.txt")
    found = found_for(tmp_path, tmp_path)
    assert found == Found(several=("requirements-a.txt", "requirements-b.txt"))


def test_a_project_may_say_which_file_counts_or_none(tmp_path: Path) -> None:
    made(tmp_path, "uv.lock")
    made(tmp_path / "locks", "web.txt")
    (tmp_path / "pyproject.toml").write_text('[tool.autocelery]\nlock = "locks/web.txt"\n')
    setting = ShipRules.read(tmp_path).lock
    assert setting == "locks/web.txt"
    assert named(setting, tmp_path) == Found(tmp_path / "locks" / "web.txt", tmp_path / "locks")
    assert named("installed", tmp_path) == Found()
    with pytest.raises(ConfigurationError, match=r"tool\.autocelery\.lock in .*'gone\.lock'.*is no file"):
        named("gone.lock", tmp_path)


@pytest.mark.parametrize("value", ["3", "''", "[]"])
def test_a_setting_that_is_no_path_is_named(tmp_path: Path, value: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.autocelery]\nlock = {value}\n")
    with pytest.raises(ConfigurationError, match=r"tool\.autocelery\.lock"):
        ShipRules.read(tmp_path)


def test_a_pyproject_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(LockInvalid, match=r"pyproject\.toml is not valid TOML"):
        found_for(tmp_path, tmp_path)
