"""``uv.lock`` as uv writes it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from autocelery._env.locks import finding, reading
from autocelery._model import Pin
from autocelery.errors import LockInvalid
from tests.unit.locks.making import Index, install, needs, versions

_PROJECT = """
[project]
name = "shop"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [{}]
"""


def locked(index: Index, project: Path, *dependencies: str, more: str = "") -> Path:
    """Write a project with those dependencies, lock it and return the lock's path."""
    write(project, *dependencies, more=more)
    index.uv("lock", cwd=project)
    return project / "uv.lock"


def write(project: Path, *dependencies: str, more: str = "") -> None:
    project.mkdir(parents=True, exist_ok=True)
    listed = ", ".join(f'"{each}"' for each in dependencies)
    (project / "pyproject.toml").write_text(_PROJECT.format(listed) + more)


def edit(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1, flags=re.DOTALL)
    assert changed != text
    path.write_text(changed)


def test_a_project_needs_what_its_lock_says_at_those_versions_with_their_hashes(
    index: Index, project: Path
) -> None:
    locked(index, project, "beta<2")
    assert needs(project).pins == (
        Pin("alpha", "2.0", (index.hash_of("alpha", "2.0"),)),
        Pin("beta", "1.0", (index.hash_of("beta", "1.0"),)),
    )


def test_extras_are_followed_where_they_are_asked_for(index: Index, project: Path) -> None:
    locked(index, project, "beta[more]")
    assert versions(needs(project)) == {"alpha": "2.0", "beta": "2.0", "gamma": "1.0"}


def test_what_is_for_another_platform_or_python_is_left_out(index: Index, project: Path) -> None:
    locked(index, project, "alpha; sys_platform == 'win32'", "gamma; python_version < '3.11'")
    assert needs(project).pins == ()


def test_of_several_versions_the_one_for_this_python_counts(index: Index, project: Path) -> None:
    locked(
        index,
        project,
        "alpha<2; implementation_name == 'cpython'",
        "alpha>=2; implementation_name != 'cpython'",
    )
    assert versions(needs(project)) == {"alpha": "1.0"}
    assert versions(needs(project, "alpha")) == {"alpha": "1.0"}


def test_a_tool_of_another_group_is_needed_only_where_the_code_imports_it(
    index: Index, project: Path, site: Path
) -> None:
    locked(index, project, "alpha", more='[dependency-groups]\ndev = ["tool"]\n')
    assert versions(needs(project)) == {"alpha": "2.0"}
    assert versions(needs(project, "tool")) == {"alpha": "2.0", "gamma": "1.0", "tool": "1.0"}


def test_what_the_code_imports_and_no_lock_names_is_taken_as_it_is_installed(
    index: Index, project: Path, site: Path
) -> None:
    locked(index, project, "alpha<2")
    install(index, site, "tool-1.0", "gamma-1.0", "alpha-2.0")
    found = needs(project, "tool")
    assert versions(found) == {"alpha": "1.0", "gamma": "1.0", "tool": "1.0"}
    assert found.locked == {"alpha"}
    assert found.differing == (("alpha", "1.0", "2.0"),)


def test_a_package_in_a_folder_is_code_and_what_it_needs_is_not(index: Index, project: Path) -> None:
    write(project.parent / "lib", "gamma", more="")
    edit(project.parent / "lib" / "pyproject.toml", "shop", "lib")
    source = '[tool.uv.sources]\nlib = { path = "../lib", editable = true }\n'
    locked(index, project, "lib", more=source)
    found = needs(project)
    assert versions(found) == {"gamma": "1.0"}
    assert found.folders == (("lib", project.parent / "lib"),)


def test_a_folder_that_is_gone_is_named(index: Index, project: Path) -> None:
    write(project.parent / "lib", "gamma")
    edit(project.parent / "lib" / "pyproject.toml", "shop", "lib")
    locked(index, project, "lib", more='[tool.uv.sources]\nlib = { path = "../lib", editable = true }\n')
    (project.parent / "lib").rename(project.parent / "elsewhere")
    with pytest.raises(LockInvalid, match=r"uv\.lock takes lib from .*lib, which is not there.*uv lock"):
        needs(project)


def test_a_member_of_a_workspace_needs_its_own_only(index: Index, project: Path) -> None:
    workspace = '[tool.uv.workspace]\nmembers = ["apps/*"]\n'
    for name, needed in (("front", "alpha"), ("back", "gamma")):
        write(project / "apps" / name, needed)
        edit(project / "apps" / name / "pyproject.toml", "shop", name)
    locked(index, project, "tool", more=workspace)
    assert versions(needs(project)) == {"gamma": "1.0", "tool": "1.0"}
    front = project / "apps" / "front"
    for top in (project, front):
        found = finding.found_for(front, top)
        assert (found.path, found.project) == (project / "uv.lock", front)
    assert versions(needs(front)) == {"alpha": "2.0"}


def test_a_package_from_a_repository_is_no_version_and_its_token_is_not_shown(
    index: Index, project: Path
) -> None:
    lock = locked(index, project, "beta")
    edit(
        lock,
        r'source = \{ registry = "[^"]*" \}\nwheels = .*?\n\]',
        'source = { git = "https://me:secret@git.example/alpha?rev=1#abc" }',
    )
    found = needs(project)
    assert versions(found) == {"beta": "2.0"}
    assert [(each.name, each.place) for each in found.elsewhere] == [("alpha", "https://git.example/alpha")]


def test_only_hashes_of_files_that_this_python_can_use_travel(index: Index, project: Path) -> None:
    lock = locked(index, project, "alpha")
    other = f'{{ url = "https://x/alpha-2.0-cp27-cp27m-win32.whl", hash = "sha256:{"b" * 64}" }},'
    edit(lock, r"wheels = \[", f"wheels = [\n    {other}")
    assert needs(project).pins == (Pin("alpha", "2.0", (index.hash_of("alpha", "2.0"),)),)


@pytest.mark.parametrize(
    ("pattern", "replacement", "told"),
    [
        (r"version = 1", "version = 2", r"is a lock of version 2.*reads version 1"),
        (r"version = 1", "version = = 1", "is not valid TOML"),
        (r'requires-python = ">=3.11"', 'requires-python = ">=4"', r"is for Python >=4, and this is 3"),
        (r'requires-python = ">=3.11"', 'requires-python = "new"', "which is no specifier"),
        (r"\[\[package\]\]\nname = \"alpha\".*?\n\]\n", "", r"beta needs alpha.*does not have.*Run: uv lock"),
        (r'name = "alpha" \}', 'name = "alpha", version = "9.0" }', r"beta needs alpha 9\.0.*Run: uv lock"),
        (r'version = "2.0"', 'version = "two"', "'two', which is no version"),
        (r'version = "2.0"', "version = 2.0", "version = 2.0, which is no text"),
        (r"sha256:", "md5:", "alpha that are none of SHA-2"),
        (r'source = \{ registry = "[^"]*" \}', 'source = "registry"', "which is no table"),
        (r'\{ name = "alpha" \}', '{ name = "alpha", marker = "nonsense" }', "'nonsense', which is none"),
        (
            r"(\[\[package\]\]\nname = \"alpha\"\nversion = \")2.0(.*?\n\]\n)",
            r"\g<1>2.0\2\g<1>1.0\2",
            r"has alpha 2\.0 .* and 1\.0 .* at once.*Run: uv lock",
        ),
    ],
)  # fmt: skip
def test_a_lock_that_is_no_good_is_named_with_the_mend(
    index: Index, project: Path, pattern: str, replacement: str, told: str
) -> None:
    edit(locked(index, project, "beta"), pattern, replacement)
    with pytest.raises(LockInvalid, match=rf"(?s)uv\.lock .*{told}"):
        needs(project)


@pytest.mark.parametrize(
    ("asked", "told"), [("gamma", "does not have gamma"), ("alpha<2", r"has alpha 2\.0")]
)
def test_a_lock_that_is_older_than_what_the_project_asks_for_is_refused(
    index: Index, project: Path, asked: str, told: str
) -> None:
    locked(index, project, "beta")
    write(project, "beta", asked)
    with pytest.raises(LockInvalid, match=rf"uv\.lock {told}.*pyproject\.toml.*uv lock"):
        needs(project)
    index.uv("lock", cwd=project)
    assert "beta" in versions(needs(project))


def test_an_override_may_contradict_what_the_project_asks_for(index: Index, project: Path) -> None:
    locked(index, project, "beta", "alpha<2", more='[tool.uv]\noverride-dependencies = ["alpha>=2"]\n')
    assert versions(needs(project))["alpha"] == "2.0"


def test_a_lock_is_parsed_once_as_long_as_it_does_not_change(index: Index, project: Path) -> None:
    lock = locked(index, project, "alpha<2")
    for each in (lock, project / "pyproject.toml"):
        os.utime(each, (1e9, 1e9))  # what was written just now may be written again at the same time
    first = reading.read(lock, project)
    assert reading.read(lock, project) is first
    locked(index, project, "alpha>=2")
    assert versions(needs(project)) == {"alpha": "2.0"}
