"""``requirements.txt`` as pip reads it, and what ``pyproject.toml`` asks for."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from autocelery._env.locks.pyproject import specifier_of
from autocelery._model import Pin
from autocelery.errors import LockInvalid
from tests.unit.locks.making import Index, install, needs, versions
from tests.unit.locks.test_uv_lock import edit, write

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def listed(project: Path, text: str, name: str = "requirements.txt") -> Path:
    place = project / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def test_what_pip_compile_writes_gives_versions_and_hashes(index: Index, project: Path) -> None:
    listed(project, "beta<2\n", "requirements.in")
    index.uv(
        "pip", "compile", "-q", "--generate-hashes", "requirements.in", "-o", "requirements.txt", cwd=project
    )
    assert needs(project).pins == (
        Pin("alpha", "2.0", (index.hash_of("alpha", "2.0"),)),
        Pin("beta", "1.0", (index.hash_of("beta", "1.0"),)),
    )


def test_all_that_a_line_may_be(project: Path) -> None:
    (project / "lib" / "src").mkdir(parents=True)
    (project / "lib" / "pyproject.toml").write_text('[project]\nname = "The.Lib"\n')
    listed(
        project,
        f"""\
--index-url https://me:secret@index.example/simple
-i https://x --pre
--no-binary :all:
-r more/base.txt
-c limits.txt
-e ./lib
one==1.0 --hash={A} # why
#two==2
three == 3.0 ; python_version >= '3' --hash={A}
four==4; sys_platform=='never' --hash={A}
Six_And.Half[extra]==6.5 \\
    --hash={A} \\
    --hash {B}
seven @ https://me:secret@files.example/seven-7.0-py3-none-any.whl#sha256=0
git+https://token@git.example/eight.git@main#egg=eight
""",
    )
    listed(project, "six-and-half<7\nunheard==1\n", "limits.txt")
    listed(project, f"five==5.0 --hash={A}\n-r ../requirements.txt\n", "more/base.txt")
    found = needs(project)
    assert found.pins == (
        Pin("five", "5.0", (A,)),
        Pin("one", "1.0", (A,)),
        Pin("six-and-half", "6.5", (A, B)),
        Pin("three", "3.0", (A,)),
    )
    assert found.folders == (("the-lib", project / "lib"),)
    assert [(each.name, each.place) for each in found.elsewhere] == [
        ("eight", "git+https://git.example/eight.git@main"),
        ("seven", "https://files.example/seven-7.0-py3-none-any.whl"),
    ]


def test_what_a_shell_on_windows_wrote_is_read(project: Path) -> None:
    (project / "requirements.txt").write_text("one==1.0\r\n", encoding="utf-16")
    assert versions(needs(project)) == {"one": "1.0"}


def test_a_slash_in_a_marker_makes_no_path(project: Path) -> None:
    listed(project, "one==1.0; platform_version != 'a/b'\n")
    assert versions(needs(project)) == {"one": "1.0"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one==1\none==2\n", r"has one 1 \(requirements\.txt:1\) and 2 \(requirements\.txt:2\) at once"),
        ("one==1\n\none>=2\n", r"has one 1 \(requirements\.txt:1\) and >=2 \(requirements\.txt:3\) at once"),
        ("-c limits.txt\none==1\n", r"one 1 \(requirements\.txt:2\) and >2 \(limits\.txt:1\)"),
        (f"one==1 --hash={A}\ntwo==2\n", r"none for two \(requirements\.txt:2\).*--generate-hashes"),
        ("one==1 --hash=md5:abc\n", r"none of SHA-2.*\(requirements\.txt:1\)"),
        ("fine\none two\n", r"'one two', which is no requirement.*\(requirements\.txt:2\)"),
        ("-r gone.txt\n", r"gone\.txt, which cannot be read: No such file"),
        ("-r https://x/requirements.txt\n", r"Keep that file beside it"),
        ("-e ../gone\n", r"takes gone from .*gone, which is not there \(requirements\.txt:1\)"),
        ("one==1 --hash='\n", r"options of 'one==1'"),
        ("https://me:secret@x/download\n", r"'https://x/download' without a name.*\(requirements\.txt:1\)"),
        ("one @ https://me:secret@x/ y\n", r"no requirement"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_good_is_named(project: Path, text: str, told: str) -> None:
    listed(project, text)
    listed(project, "one>2\n", "limits.txt")
    with pytest.raises(LockInvalid, match=rf"(?s)requirements\.txt .*{told}") as caught:
        needs(project)
    assert "secret" not in str(caught.value)


def test_a_range_is_no_version_and_what_is_installed_counts_where_it_does(
    index: Index, project: Path, site: Path
) -> None:
    install(index, site, "alpha-1.0", "beta-1.0", "gamma-1.0")
    listed(project, "alpha>=1\nbeta[more]\nnowhere>3 # not for this platform, say\n")
    found = needs(project)
    assert versions(found) == {"alpha": "1.0", "beta": "1.0", "gamma": "1.0"}
    assert found.locked == frozenset()
    assert found.unfit == ()


def test_a_range_that_excludes_what_is_imported_is_refused_and_of_others_said(
    index: Index, project: Path, site: Path
) -> None:
    install(index, site, "alpha-1.0")
    listed(project, "alpha>=2\n")
    found = needs(project)
    assert (found.pins, found.unfit) == ((), (("alpha>=2 (requirements.txt:1)", "1.0 is installed here"),))
    with pytest.raises(
        LockInvalid,
        match=r"asks for alpha>=2 \(requirements\.txt:1\).*pip install -r requirements\.txt.*lock =",
    ):
        needs(project, "alpha")


def test_what_pyproject_asks_for_is_taken_as_installed(index: Index, project: Path, site: Path) -> None:
    install(index, site, "alpha-1.0", "tool-1.0", "gamma-1.0")
    write(project, "alpha", "beta==2.0", "nowhere", more='[project.optional-dependencies]\nx = ["tool"]\n')
    found = needs(project)
    assert versions(found) == {"alpha": "1.0", "beta": "2.0"}
    assert found.unfit == ()
    assert "tool" in versions(needs(project, "tool"))


def test_sources_of_uv_count_without_its_lock_too(project: Path) -> None:
    (project.parent / "lib").mkdir()
    write(
        project,
        "lib",
        "far",
        more='[tool.uv.sources]\nlib = { path = "../lib" }\nfar = { git = "https://g/far" }\n',
    )
    found = needs(project)
    assert found.folders == (("lib", project.parent / "lib"),)
    assert [each.place for each in found.elsewhere] == ["https://g/far"]


def test_a_requirement_in_pyproject_that_is_none_is_named(project: Path) -> None:
    write(project, "al pha")
    with pytest.raises(LockInvalid, match=r"pyproject\.toml has 'al pha', which is no requirement"):
        needs(project)
    edit(project / "pyproject.toml", r"\[\"al pha\"\]", "3")
    with pytest.raises(LockInvalid, match=r"pyproject\.toml has dependencies = 3, which is no array"):
        needs(project)


@pytest.mark.parametrize(
    ("text", "admitted", "refused"),
    [("^1.2.3", "1.9", "2.0"), ("^0.2.3", "0.2.9", "0.3"), ("^0.0.3", "0.0.3", "0.0.4"), ("^0", "0.9", "1"),
     ("~1.2.3", "1.2.9", "1.3"), ("~1.2", "1.2.9", "1.3"), ("~1", "1.9", "2"), ("1.2", "1.2", "1.3"),
     ("1.2.*", "1.2.9", "1.3"), (">=1.2, <2", "1.3", "2"), (">= 1.2 < 2", "1.3", "2"), ("~=1.2", "1.9", "2")],
)  # fmt: skip
def test_constraints_of_poetry_are_those_of_pep_440(text: str, admitted: str, refused: str) -> None:
    assert specifier_of(text).contains(admitted)
    assert not specifier_of(text).contains(refused)
    assert specifier_of("*").contains(admitted)
    assert specifier_of(f"{text} || 99").contains(refused)


def test_what_only_celery_needs_is_the_workers_own(project: Path) -> None:
    listed(project, "celery==5.2.7\nclick==8.1.3\nvine==5.0.0\nclick-repl==0.2.0\none==1.0\n")
    assert versions(needs(project)) == {"one": "1.0"}


def test_what_celery_needs_and_the_code_imports_is_the_locks_with_its_celery_and_else_as_installed(
    project: Path,
) -> None:
    here = metadata.version("celery"), metadata.version("click")
    listed(project, f"celery=={here[0]}\nclick==8.0.1\n")
    assert versions(needs(project, "click")) == {"click": "8.0.1"}
    listed(project, "celery==5.2.7\nclick==8.0.1\n")
    assert versions(needs(project, "click")) == {"click": here[1]}
