"""Without git, a tree is what git would say it is."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from autocelery._snapshot import StatMemory
from autocelery._snapshot.plain import plain_files
from tests.unit.snapshot.ignores_at_random import IgnoringTree, ignoring_trees
from tests.unit.snapshot.making import paths, repository, write


@pytest.fixture(scope="module")
def git_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a repository, which is asked about trees that have none."""
    return repository(tmp_path_factory.mktemp("asked")) / ".git"


def listed_by_git(git_folder: Path, top: Path) -> set[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    here = ["-c", f"core.excludesFile={os.devnull}", f"--git-dir={git_folder}", f"--work-tree={top}"]
    answer = subprocess.run(
        ["git", *here, "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=top, check=True, capture_output=True, env=environment, timeout=60,
    ).stdout  # fmt: skip
    return set(os.fsdecode(answer).split("\0")) - {""}


@given(tree=ignoring_trees())
@settings(max_examples=80)
def test_without_git_a_tree_is_what_git_lists(git_folder: Path, tree: IgnoringTree) -> None:
    with tempfile.TemporaryDirectory(prefix="ac-") as place:
        top = tree.write(Path(place) / "top")
        assert set(plain_files(str(top)).files) == listed_by_git(git_folder, top)


def test_what_is_ignored_stays_so_in_a_folder_that_a_rule_below_takes_back(
    tmp_path: Path, git_folder: Path
) -> None:
    top = write(tmp_path / "p", **{".gitignore": "*.dump\n", "app/.gitignore": "cache/\n!data/\n"})
    write(top, **{"app/data/customers.dump": "private", "app/data/a.py": "1", "app/cache/b.py": "2"})
    assert paths(top) == {".gitignore", "app/.gitignore", "app/data/a.py"} == listed_by_git(git_folder, top)


def test_a_rule_below_takes_back_a_file_of_a_folder_all_of_which_is_ignored_but_itself(
    tmp_path: Path, git_folder: Path
) -> None:
    top = write(tmp_path / "p", **{".gitignore": "bar/**\n", "bar/.gitignore": "!*.py\n!.gitignore\n"})
    write(top, **{"bar/c.py": "1", "bar/c.log": "2", "bar/deep/d.py": "3"})
    assert paths(top) == {".gitignore", "bar/.gitignore", "bar/c.py"} == listed_by_git(git_folder, top)


@pytest.mark.parametrize(
    ("rule", "ignored", "kept"),
    [
        ("a\\", set(), {"a", "a\\"}),
        ("[b-a]*", {"ba"}, {"ab", "c"}),
        ("[[:digit:]]x", {"1x"}, {"ax", ":x"}),
        ("[[:number:]]x", set(), {"1x", "nx"}),
        ("[a\\-c]", {"a", "-", "c"}, {"b", "\\"}),
        ("/a[!b]c", {"adc"}, {"a/c"}),
        ("a\t", {"a\t"}, {"a"}),
        ("?", {"a"}, {"é"}),
        ("a**/b", {"ax/b"}, {"ab", "a/c/b"}),
        ("a//", set(), {"a/b"}),
    ],
)
def test_a_rule_that_is_seldom_written_means_what_git_says_and_the_next_one_holds(
    tmp_path: Path, rule: str, ignored: set[str], kept: set[str]
) -> None:
    top = write(tmp_path / "p", **{"_dot_gitignore": f"{rule}\n*.dump\n", "x.dump": ""})
    for path in ignored | kept:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).touch()
    assert set(plain_files(str(top)).files) == {".gitignore"} | kept


def test_a_gitignore_that_is_no_file_has_no_rules(tmp_path: Path, git_folder: Path) -> None:
    top = write(
        tmp_path / "p", **{"rules": "*.log\n", "a.log": "1", "sub/b.log": "2", "odd/.gitignore/c.py": "3"}
    )
    os.symlink("../rules", top / "sub/.gitignore")
    os.mkfifo(top / ".gitignore")
    found = set(plain_files(str(top)).files)
    (top / ".gitignore").unlink()  # git waits for somebody to write into it
    assert found - {".gitignore"} == listed_by_git(git_folder, top)


@pytest.fixture
def no_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """What takes git away."""
    return lambda: monkeypatch.setenv("PATH", str(tmp_path))


def test_without_git_the_rules_of_the_repository_around_the_top_hold(
    tmp_path: Path, no_git: Callable[[], None]
) -> None:
    whole = write(
        repository(tmp_path / "p"), **{".gitignore": "*.dump\n/svc/app/tmp/\n", "svc/.gitignore": "/app/x\n"}
    )
    write(
        whole,
        **{"svc/app/a.py": "1", "svc/app/b.dump": "", "svc/app/tmp/c": "", "svc/app/x": "", "svc/app/y": ""},
    )
    (whole / ".git/info/exclude").write_text("y\n")
    top, memory = whole / "svc/app", StatMemory()
    assert paths(top) == {"a.py"}
    no_git()
    assert paths(top, memory) == {"a.py"}
    assert {path.removeprefix("svc/app/") for path in paths(whole)} == {
        ".gitignore",
        "svc/.gitignore",
        "a.py",
    }
    (whole / ".git/info/exclude").unlink()
    assert paths(top, memory) == {"a.py", "y"}
    (whole / "svc/.gitignore").write_text("!b.dump\n")
    assert paths(top, memory) == {"a.py", "b.dump", "x", "y"}


def test_without_git_a_repository_that_ignores_the_top_has_no_rules_for_it(
    tmp_path: Path, no_git: Callable[[], None]
) -> None:
    home = write(repository(tmp_path / "home"), **{".gitignore": "*\n"})
    top = write(home / "work/proj", **{"a.py": "1", "b.log": "", ".gitignore": "*.log"})
    no_git()
    assert paths(top) == {"a.py", ".gitignore"}
