"""``pylock.toml`` as uv exports it, and ``poetry.lock`` as poetry 1 and 2 wrote it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autocelery._model import Pin
from autocelery.errors import LockInvalid
from tests.unit.locks.making import Index, install, needs, versions
from tests.unit.locks.test_uv_lock import edit, locked, write

_WINDOWS = 'lock-version = "1.0"\nenvironments = ["sys_platform == \'win32\'"]'
POETRY = Path(__file__).parents[2] / "projects" / "locks"


def exported(index: Index, project: Path, *dependencies: str, more: str = "") -> Path:
    """Write a project with a ``pylock.toml`` alone, and return its path."""
    locked(index, project, *dependencies, more=more)
    index.uv("export", "-q", "-o", "pylock.toml", cwd=project)
    (project / "uv.lock").unlink()
    return project / "pylock.toml"


def test_pylock_gives_versions_and_hashes(index: Index, project: Path) -> None:
    exported(index, project, "beta<2", "gamma; sys_platform == 'win32'")
    assert needs(project).pins == (
        Pin("alpha", "2.0", (index.hash_of("alpha", "2.0"),)),
        Pin("beta", "1.0", (index.hash_of("beta", "1.0"),)),
    )


def test_a_folder_in_pylock_is_code_and_one_that_is_gone_is_named(index: Index, project: Path) -> None:
    write(project.parent / "lib", "gamma")
    edit(project.parent / "lib" / "pyproject.toml", "shop", "lib")
    exported(index, project, "lib", more='[tool.uv.sources]\nlib = { path = "../lib", editable = true }\n')
    assert needs(project).folders == (("lib", project.parent / "lib"),)
    shutil.rmtree(project.parent / "lib")
    with pytest.raises(LockInvalid, match=r"pylock\.toml takes lib from .*lib, which is not there"):
        needs(project)


def test_a_group_in_pylock_counts_where_the_code_imports_it(index: Index, project: Path, site: Path) -> None:
    lock = exported(index, project, "alpha", "tool")
    lock.write_text(lock.read_text() + "\n[tool.x]\n")
    edit(
        lock,
        'name = "tool"\nversion = "1.0"\n',
        'name = "tool"\nversion = "1.0"\nmarker = "\'dev\' in dependency_groups"\n',
    )
    edit(
        lock,
        'lock-version = "1.0"\n',
        'lock-version = "1.0"\ndependency-groups = ["dev"]\ndefault-groups = ["default"]\n',
    )
    assert "tool" not in versions(needs(project))
    assert versions(needs(project, "tool"))["tool"] == "1.0"


@pytest.mark.parametrize(
    ("pattern", "replacement", "told"),
    [
        (r'lock-version = "1.0"', 'lock-version = "2.0"', r"is a lock of version 2\.0"),
        (r'lock-version = "1.0"\n', "", "is a lock of version none"),
        (r'lock-version = "1.0"', _WINDOWS, "not for this platform"),
        (r'requires-python = ">=3.11"', 'requires-python = "<3"', "is for Python <3, and this is"),
        (r'name = "alpha"', "", "without a name"),
        (r'name = "alpha"', 'name = "al pha"', "no name of a package"),
        (r"hashes = \{ sha256 = ", "hashes = { md5 = ", "none of SHA-2"),
        (r"\[\[packages\]\]", '[[packages]]\nname = "alpha"\nversion = "1.0"\n\n[[packages]]', "at once"),
        (r"wheels = ", "wheels = 1 #", "no array"),
    ],
)  # fmt: skip
def test_a_pylock_that_is_no_good_is_named(
    index: Index, project: Path, pattern: str, replacement: str, told: str
) -> None:
    edit(exported(index, project, "alpha"), pattern, replacement)
    with pytest.raises(LockInvalid, match=rf"(?s)pylock\.toml .*{told}"):
        needs(project)


@pytest.fixture(params=["poetry-1.8.5", "poetry-2.5.1"])
def of_poetry(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(POETRY / request.param, tmp_path / "poetry"))


def test_poetry_gives_versions_hashes_extras_and_folders(of_poetry: Path) -> None:
    found = needs(of_poetry)
    assert versions(found).keys() == {
        "certifi", "h11", "httpcore", "idna", "inflect", "jaraco-functools", "more-itertools", "socksio",
        "toolz", "typeguard", "typing-extensions",
    }  # fmt: skip
    assert all(len(pin.hashes) == 2 for pin in found.pins)
    assert found.folders == (("lib", of_poetry / "lib"),)


def test_a_tool_or_an_extra_of_poetrys_is_needed_only_where_the_code_imports_it(
    of_poetry: Path, index: Index, site: Path
) -> None:
    assert versions(needs(of_poetry, "iniconfig", "tabulate")).keys() >= {"iniconfig", "tabulate"}


@pytest.mark.parametrize(
    ("pattern", "replacement", "told"),
    [
        (r'lock-version = "2', 'lock-version = "9', r"is a lock of version 9"),
        (r'\[\[package\]\]\nname = "h11".*?reference = "simple"\n', "", r"httpcore needs h11.*Run: poetry lock"),
        (r'h11 = ">=0.16"', 'h11 = ">=99"', r"has h11 .*httpcore there needs h11>=99.*Run: poetry lock"),
        (r'h11 = ">=0.16"', 'h11 = ">=>0.16"', "which is none"),
        (r'h11 = ">=0.16"', "h11 = 1", "which is no dependency"),
        (r'python-versions = ">=3.11,<4"', 'python-versions = "^2.7"', r"is for Python <3,>=2\.7, and this is"),
        (r'url = "lib"', 'url = "gone"', "takes lib from .*gone, which is not there"),
        (r'hash = "sha256:', 'hash = "md5:', "none of SHA-2"),
        (r"files = \[\n    \{", "files = [\n    1,\n    {", "no table"),
    ],
)  # fmt: skip
def test_a_poetry_lock_that_is_no_good_is_named(
    of_poetry: Path, pattern: str, replacement: str, told: str
) -> None:
    edit(of_poetry / "poetry.lock", pattern, replacement)
    with pytest.raises(LockInvalid, match=rf"(?s)poetry\.lock .*{told}"):
        needs(of_poetry)


def test_a_poetry_lock_that_is_older_than_the_project_is_refused(of_poetry: Path) -> None:
    edit(of_poetry / "pyproject.toml", r'inflect = "\^7"', 'inflect = "^8"')
    with pytest.raises(LockInvalid, match=r"poetry\.lock has inflect 7.*asks for inflect<9,>=8.*poetry lock"):
        needs(of_poetry)


def test_files_of_poetry_may_stand_at_the_end_as_they_did_before_version_2(
    index: Index, project: Path
) -> None:
    digest = "sha256:" + "a" * 64
    (project / "pyproject.toml").write_text('[tool.poetry.dependencies]\nalpha = "*"\n')
    (project / "poetry.lock").write_text(
        '[[package]]\nname = "alpha"\nversion = "1.0"\ncategory = "main"\noptional = false\n\n'
        '[metadata]\nlock-version = "1.1"\n\n[metadata.files]\n'
        f'alpha = [{{ file = "alpha-1.0.tar.gz", hash = "{digest}" }}]\n'
    )
    assert needs(project).pins == (Pin("alpha", "1.0", (digest,)),)


def test_what_is_edited_here_travels_as_code_whatever_the_lock_says(
    index: Index, project: Path, site: Path
) -> None:
    locked(index, project, "beta<2")
    install(index, site, "alpha-1.0")
    edited = project.parent / "edited"
    edited.mkdir()
    (site / "alpha-1.0.dist-info" / "direct_url.json").write_text(
        f'{{"url": "{edited.as_uri()}", "dir_info": {{"editable": true}}}}'
    )
    found = needs(project)
    assert versions(found) == {"beta": "1.0"}
    assert found.folders == (("alpha", edited),)
