"""The Pythons of a machine: found where they are, none that only looks like one, none downloaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autocelery._env.interpreters import HERE, SUPPORTED, Interpreters

#: A version that this process does not run.
OTHER = next(each for each in reversed(SUPPORTED) if each != HERE)


@pytest.fixture(autouse=True)
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "PYENV_ROOT", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))


def pretend(path: Path, version: str) -> Path:
    """Write a program that says it is a Python of that version, as far as it is asked here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    major, minor, patch = version.split(".")
    path.write_text(f"#!/bin/sh\necho '[\"{path}\", {major}, {minor}, {patch}]'\n")
    path.chmod(0o755)
    return path


def test_the_own_one_is_always_there() -> None:
    found = Interpreters().get(HERE)
    assert found is not None
    assert (found.path, found.minor) == (sys.executable, HERE)
    assert Interpreters().minors() == (HERE,)


@pytest.mark.parametrize(
    "place",
    [
        "PATH/python{0}",
        "PYENV_ROOT/versions/{0}.7/bin/python{0}",
        "UV_PYTHON_INSTALL_DIR/cpython-{0}.7-x/bin/python{0}",
    ],
)
def test_another_is_found_where_it_may_be(tmp_path: Path, place: str) -> None:
    program = pretend(tmp_path / place.format(OTHER), f"{OTHER}.7")
    found = Interpreters().get(OTHER)
    assert found is not None
    assert (found.path, found.version) == (str(program), f"{OTHER}.7")


def test_a_name_that_leads_nowhere_or_elsewhere_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "PATH" / f"python{OTHER}"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n")
    broken.chmod(0o755)
    pretend(tmp_path / "PYENV_ROOT" / "versions" / f"{OTHER}.1" / "bin" / f"python{OTHER}", "3.10.1")
    assert Interpreters().get(OTHER) is None
    good = pretend(
        tmp_path / "UV_PYTHON_INSTALL_DIR" / f"cpython-{OTHER}.2-x" / "bin" / f"python{OTHER}", f"{OTHER}.2"
    )
    found = Interpreters().get(OTHER)
    assert found is not None
    assert found.path == str(good)


def test_one_that_is_installed_later_or_removed_is_noticed(tmp_path: Path) -> None:
    interpreters = Interpreters()
    assert interpreters.get(OTHER) is None
    program = pretend(tmp_path / "PATH" / f"python{OTHER}", f"{OTHER}.0")
    assert interpreters.get(OTHER) is not None
    os.unlink(program)
    assert interpreters.get(OTHER) is None


@pytest.mark.parametrize("minor", ["3.10", "2.7", "../../bin/sh"])
def test_what_hosts_cannot_run_in_is_not_even_looked_for(minor: str) -> None:
    assert Interpreters().get(minor) is None
