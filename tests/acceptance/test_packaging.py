"""What is released: a wheel and an sdist that build, install into an empty venv, and run the demo."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def uv(*arguments: str | Path, cwd: Path) -> str:
    """Run uv with pip's own settings, as the development set-up does."""
    specification = importlib.util.spec_from_file_location("install", REPOSITORY / "scripts" / "install.py")
    assert specification is not None
    assert specification.loader is not None
    install = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(install)
    return run(
        sys.executable, "-m", "uv", *arguments, cwd=cwd, **install.for_uv(install.pip_settings(), os.environ)
    )


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    uv("build", "-q", "--out-dir", folder, REPOSITORY, cwd=folder)
    return folder


def test_the_sdist_holds_the_sources_and_no_leftovers(released: Path) -> None:
    (archive,) = released.glob("*.tar.gz")
    with tarfile.open(archive) as names:
        files = {name.partition("/")[2] for name in names.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "src/autocelery/__init__.py"} <= files
    assert not [name for name in files if ".venv" in name or "__pycache__" in name]


def test_the_wheel_holds_both_packages_their_types_and_nothing_else(released: Path) -> None:
    (archive,) = released.glob("*.whl")
    with zipfile.ZipFile(archive) as names:
        files = set(names.namelist())
    assert {"autocelery/py.typed", "autocelery_host/host.py", "autocelery/_hosting/agent.py"} <= files
    tops = {name.partition("/")[0] for name in files}
    assert {each for each in tops if not each.endswith(".dist-info")} == {"autocelery", "autocelery_host"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_installs_into_an_empty_venv_and_runs_the_demo(released: Path, kind: str, tmp_path: Path) -> None:
    (archive,) = released.glob(kind)
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=tmp_path)
    python = venv / "bin" / "python"
    uv("pip", "install", "-q", "--python", python, f"{archive}[demo]", cwd=tmp_path)
    shown = run(
        venv / "bin" / "autocelery", "demo", cwd=tmp_path, PATH=f"{venv / 'bin'}:{os.environ['PATH']}"
    )
    assert "autocelery" in shown
