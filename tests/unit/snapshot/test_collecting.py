"""What a tree is, and that no edit is ever missed."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autocelery._snapshot import ShipRules, StatMemory, collect
from autocelery._snapshot.canonical import digest_of
from autocelery.errors import (
    BadFileName,
    EmptyTree,
    FileKeepsChanging,
    TreeTooLarge,
    UnreadableFile,
    UnsafeSymlink,
)
from tests.unit.snapshot.making import LIMIT, collected, contents, git, paths, repository, settle, write


@pytest.fixture(params=["git", "plain"])
def top(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "proj"
    if request.param == "git":
        return repository(folder)
    folder.mkdir()
    return folder


def test_a_tree_is_what_is_not_ignored(top: Path) -> None:
    write(top, **{"a.py": "1", "sub/b.py": "2", "sub/skip.log": "3", "out/x": "4", "keep.log": "5"})
    write(top, **{".gitignore": "*.log\n!keep.log\nout/\n", "sub/.gitignore": "deep\n", "sub/deep/y": "6"})
    assert paths(top) == {".gitignore", "a.py", "keep.log", "sub/.gitignore", "sub/b.py"}


def test_a_top_that_is_no_folder_names_what_chooses_it(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"nowhere is not a folder.* AUTOCELERY_ROOT.* --workdir\."):
        paths(tmp_path / "nowhere")


def test_junk_and_compiled_code_are_left_out(top: Path) -> None:
    write(top, **{"a.py": "1", "__pycache__/a.pyc": "", "b.pyc": "", "node_modules/x/i.js": "", ".tox/x": ""})
    write(
        top, **{"env/pyvenv.cfg": "", "env/lib/x.py": "", "p.egg-info/PKG": "", "x~": "", ".mypy_cache/y": ""}
    )
    os.symlink("user@host.1:2", top / ".#a.py")
    assert paths(top) == {"a.py"}


@pytest.mark.parametrize(
    "name",
    [
        "db.sqlite3",
        "db.sqlite3-journal",
        "app.db-wal",
        "app.db-shm",
        "celerybeat-schedule",
        "celerybeat-schedule.db",
    ],
)
def test_what_a_running_project_writes_beside_its_code_is_left_out_unless_git_tracks_it(
    tmp_path: Path, top: Path, name: str
) -> None:
    kept = {"a.py": "1", "cities.sqlite3": "2", "app.db": "3"}
    write(top, **kept, **{f"sub/{name}": "4"})
    assert paths(top) == kept.keys()
    tracked = write(repository(tmp_path / "tracked"), **kept, **{f"sub/{name}": "4"})
    assert paths(tracked) == kept.keys()
    git(tracked, "add", ".")
    assert paths(tracked) == {*kept, f"sub/{name}"}


def test_compiled_code_is_left_out_although_git_tracks_it(tmp_path: Path) -> None:
    top = write(
        repository(tmp_path / "p"),
        **{"a.py": "1", "b.pyc": "2", "__pycache__/a.pyc": "3", "node_modules/i": "4"},
    )
    git(top, "add", "-f", ".")
    assert paths(top) == {"a.py", "node_modules/i"}


def test_a_tracked_file_that_is_ignored_belongs_to_the_tree_until_it_is_deleted(tmp_path: Path) -> None:
    top = write(repository(tmp_path / "p"), **{"a.py": "1", "data.bin": "2", ".gitignore": "*.bin"})
    git(top, "add", "-f", "data.bin")
    memory = StatMemory()
    assert "data.bin" in paths(top, memory)
    (top / "data.bin").unlink()
    assert "data.bin" not in paths(top, memory)


def test_a_subfolder_of_a_repository_is_a_tree_of_its_own(tmp_path: Path) -> None:
    top = write(
        repository(tmp_path / "p"), **{"a.py": "1", "svc/b.py": "2", "svc/b.log": "", ".gitignore": "*.log"}
    )
    assert paths(top / "svc") == {"b.py"}


def test_submodules_and_nested_repositories_are_walked_by_their_own_git(tmp_path: Path) -> None:
    lib = write(repository(tmp_path / "lib"), **{"lib.py": "1", ".gitignore": "*.tmp"})
    git(lib, "add", ".")
    git(lib, "commit", "-qm", "x")
    top = write(repository(tmp_path / "p"), **{"a.py": "1"})
    git(top, "submodule", "--quiet", "add", str(lib), "vendored")
    write(repository(top / "nested"), **{"n.py": "1", "n.tmp": "", ".gitignore": "*.tmp"})
    write(top, **{"vendored/new.py": "2", "vendored/x.tmp": ""})
    found = paths(top)
    assert {"vendored/lib.py", "vendored/new.py", "nested/n.py"} <= found
    assert not {"vendored/x.tmp", "nested/n.tmp", "vendored/.git"} & found


def test_a_folder_that_an_outer_repository_ignores_is_collected_without_it(tmp_path: Path) -> None:
    home = write(repository(tmp_path / "home"), **{".gitignore": "*\n"})
    assert paths(write(home / "proj", **{"a.py": "1", "b.log": "", ".gitignore": "*.log"})) == {
        "a.py",
        ".gitignore",
    }


def test_git_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = write(repository(tmp_path / "p"), **{"a.py": "1", "b.log": "2", ".gitignore": "*.log"})
    with_git = collected(top)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collected(top) == with_git


def test_the_variables_of_a_git_hook_lead_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write(repository(tmp_path / "other"), **{"o.py": "1"})
    top = write(repository(tmp_path / "p"), **{"a.py": "1"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert paths(top) == {"a.py"}


def test_include_adds_and_exclude_has_the_last_word(top: Path) -> None:
    rules = '[tool.autocelery]\ninclude = ["data/**/*.csv", "models"]\nexclude = ["docs", "**/*.tmp"]\n'
    write(top, **{".gitignore": "data/\nmodels/\n", "pyproject.toml": rules, "a.py": "1", "docs/x.md": ""})
    write(
        top,
        **{"data/1/x.csv": "", "data/x.txt": "", "models/deep/m.bin": "", "models/y.tmp": "", "b.tmp": ""},
    )
    memory = StatMemory()
    assert paths(top, memory) == {".gitignore", "pyproject.toml", "a.py", "data/1/x.csv", "models/deep/m.bin"}
    write(top, **{"data/2/y.csv": ""})
    assert "data/2/y.csv" in paths(top, memory)


@pytest.mark.parametrize(
    ("include", "shipped"),
    [
        ("data/big.bin", {"data/big.bin"}),
        ("data/*.bin", {"data/big.bin"}),
        ("data/*/*.bin", {"data/1/deep.bin"}),
        ("data/**/*.bin", {"data/big.bin", "data/1/deep.bin", "data/1/2/deeper.bin"}),
        ("**/*.bin", {"data/big.bin", "data/1/deep.bin", "data/1/2/deeper.bin", "top.bin"}),
        ("*.bin", {"top.bin"}),
        ("data/1", {"data/1/deep.bin", "data/1/2/deeper.bin"}),
        ("d*", {"data/big.bin", "data/1/deep.bin", "data/1/2/deeper.bin", "data/secret.env"}),
        ("d*/[0-9]", {"data/1/deep.bin", "data/1/2/deeper.bin"}),
        ("data/secret.env", {"data/secret.env"}),
        ("node_modules/pack/file.bin", {"node_modules/pack/file.bin"}),
        ("**/pack/*.bin", set()),
        ("env/lib", {"env/lib/file.bin"}),
    ],
)
def test_include_finds_what_git_ignores_and_looks_nowhere_else(
    top: Path, include: str, shipped: set[str]
) -> None:
    names = ["data/big.bin", "data/1/deep.bin", "data/1/2/deeper.bin", "top.bin", "data/secret.env"]
    names += ["node_modules/pack/file.bin", "env/lib/file.bin", "env/pyvenv.cfg", "other/very/deep/file.txt"]
    write(top, **dict.fromkeys(names, "x"))
    write(top, **{".gitignore": "data/\n*.bin\nnode_modules\nenv\nother\n", "a.py": "1"})
    write(top, **{"pyproject.toml": f'[tool.autocelery]\ninclude = ["{include}"]\n'})
    memory = StatMemory()
    always = {".gitignore", "a.py", "pyproject.toml"}
    withheld = {"data/secret.env"} if include == "d*" else set()
    assert paths(top, memory) - always == shipped - withheld
    with memory.of(os.path.realpath(top)) as known:
        assert known.listing is not None
        watched = set(known.listing.watch.folders)
    assert not any(folder.startswith("other") for folder in watched if include[:2] not in ("**", "d*"))
    assert not any(folder.startswith("env/") for folder in watched if include != "env/lib")


def test_empty_folders_and_special_files_are_no_part_of_a_tree(top: Path) -> None:
    write(top, **{"a.py": "1"})
    (top / "void" / "deep").mkdir(parents=True)
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(top)
        server.bind("socket")
        assert paths(top) == {"a.py"}


def test_the_mode_is_part_of_the_tree(top: Path) -> None:
    memory = StatMemory()
    write(top, run="#!/bin/sh")
    before = settle(top, memory)
    (top / "run").chmod(0o755)
    after = collected(top, memory)
    assert contents(before)["run"][0] == "f"
    assert contents(after)["run"][0] == "x"


def test_where_nothing_changed_the_same_tree_comes_back(top: Path) -> None:
    memory = StatMemory()
    write(top, **{"a.py": "1", "sub/b.py": "2"})
    assert settle(top, memory) is collected(top, memory)


def test_a_new_process_reads_nothing_again(
    top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = StatMemory(tmp_path / "memory")
    write(top, **{"a.py": "import os", "sub/b.py": "2", ".env": "SECRET=1"})
    before = settle(top, memory)
    memory.save()
    monkeypatch.setattr(
        "autocelery._snapshot.reading._hash", lambda *args, **kwargs: pytest.fail("it was read")
    )
    monkeypatch.setattr("autocelery._snapshot.git._git", lambda *args: pytest.fail("git was asked"))
    assert collected(top, StatMemory(tmp_path / "memory")) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"v":1}', '{"v":1,"top":null,"rules":[]}', "\0\xff"])
def test_a_damaged_memory_is_an_empty_one(top: Path, tmp_path: Path, text: str) -> None:
    memory = StatMemory(tmp_path / "memory")
    write(top, **{"a.py": "1"})
    before = collected(top, memory)
    memory.save()
    for file in (tmp_path / "memory").iterdir():
        file.write_text(text)
    assert collected(top, StatMemory(tmp_path / "memory")) == before


def test_two_edits_of_one_size_at_once_with_the_time_put_back_are_both_noticed(top: Path) -> None:
    memory = StatMemory()
    file = write(top, **{"a.py": "x = 0"}) / "a.py"
    settle(top, memory)
    status = file.stat()
    for number in range(1, 10):
        file.write_text(f"x = {number}")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert contents(collected(top, memory))["a.py"][1] == digest_of(f"x = {number}".encode())


def test_every_kind_of_change_is_noticed(top: Path) -> None:
    memory = StatMemory()
    write(top, **{"a.py": "1", "sub/b.py": "2", "sub/deep/c.py": "3", "link/x.py": "4"})

    def check() -> None:
        assert collected(top, memory) == collected(top)

    for _round in range(2):
        (top / "sub/deep/c.py").unlink()
        check()
        write(top, **{"sub/deep/c.py": "3"})
        check()
        (top / "new.py").write_text("n")
        check()
        (top / "new.py").rename(top / "a.py")
        check()
        (top / "void").mkdir()
        check()
        write(top, **{"void/v.py": "5"})
        check()
        (top / "void/v.py").unlink()
        (top / "void").rmdir()
        check()
        (top / ".gitignore").write_text("sub/\n")
        check()
        (top / ".gitignore").unlink()
        check()
        (top / "link/x.py").unlink()
        (top / "link").rmdir()
        os.symlink("sub", top / "link")
        check()
        (top / "link").unlink()
        write(top, **{"link/x.py": "4"})
        settle(top, memory)
        check()


def test_a_file_that_git_starts_to_ignore_by_its_own_exclude_file_is_left_out(tmp_path: Path) -> None:
    top = write(repository(tmp_path / "p"), **{"a.py": "1", "notes": "2"})
    memory = StatMemory()
    settle(top, memory)
    (top / ".git/info/exclude").write_text("notes\n")
    assert paths(top, memory) == {"a.py"}


def test_imports_and_modules_are_found(top: Path) -> None:
    source = "import os, numpy as np\nfrom django.db import models\nfrom . import x\nfrom .y import z\n"
    write(
        top,
        **{
            "tasks.py": source,
            "proj/__init__.py": "if 1: import yaml; import attrs",
            "docs/x.md": "import no",
        },
    )
    write(
        top,
        **{
            "fast.cpython-311-x86_64-linux-gnu.so": "",
            "not-a-name.py": "",
            "ns/deep/m.py": "\timport redis\\\n",
        },
    )
    tree = collected(top)
    assert tree.imports == {"os", "numpy", "django", "yaml", "attrs", "redis"}
    assert tree.modules == {"tasks", "proj", "fast", "ns"}


def test_the_bytes_of_every_node_and_file_can_be_read_until_the_file_changes(top: Path) -> None:
    tree = collected(write(top, **{"a.py": "1"}))
    for digest in [*tree.nodes, *tree.sources]:
        assert digest_of(tree.read(digest) or b"") == digest
    (top / "a.py").write_text("2")
    assert tree.read(digest_of(b"1")) is None


def test_secrets_are_withheld_and_named_also_through_a_link(top: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----"
    write(
        top,
        **{
            "a.py": "1",
            ".env": "A=1",
            "deploy/.env.prod": "",
            ".env.example": "",
            "k.pem": key,
            "ca.pem": "public",
        },
    )
    write(top, **{"ssh/id_rsa": "", ".netrc": "", "credentials.json": "{}", "server.key": key})
    os.symlink(".env", top / "settings")
    tree = collected(top)
    assert set(contents(tree)) == {"a.py", ".env.example", "ca.pem"}
    assert tree.withheld == (
        ".env", ".netrc", "credentials.json", "deploy/.env.prod", "k.pem", "server.key", "settings", "ssh/id_rsa",
    )  # fmt: skip


def test_a_link_to_a_secret_is_shipped_once_the_secret_is_none(top: Path) -> None:
    memory = StatMemory()
    write(top, **{"a.py": "1", "sub/k.pem": "-----BEGIN PRIVATE KEY-----"})
    os.symlink("sub/k.pem", top / "cert")
    assert paths(top, memory) == {"a.py"}
    (top / "sub/k.pem").write_text("public")
    assert paths(top, memory) == {"a.py", "cert", "sub/k.pem"}


def test_a_secret_is_shipped_only_if_include_means_that_very_file(top: Path) -> None:
    write(
        top,
        **{
            "a.py": "1",
            "conf/.env": "A=1",
            "conf/k.pem": "PRIVATE KEY",
            "pyproject.toml": "[tool.autocelery]\n",
        },
    )
    for include, shipped in (
        ("conf", False), ("conf/**", False), ("**/*", False),
        ("conf/.env", True), ("**/.env", True), ("conf/.env*", True),
    ):  # fmt: skip
        (top / "pyproject.toml").write_text(f'[tool.autocelery]\ninclude = ["{include}"]\n')
        assert ("conf/.env" in paths(top)) is shipped, include
        assert "conf/k.pem" not in paths(top)


def test_links_inside_the_tree_stay_links(top: Path) -> None:
    write(top, **{"a.py": "1", "sub/b.py": "2"})
    os.symlink("../a.py", top / "sub/up")
    os.symlink("sub", top / "folder")
    os.symlink("folder/up", top / "twice")
    os.symlink(top / "sub" / "b.py", top / "absolute")
    found = contents(collected(top))
    assert found["sub/up"] == ("l", "../a.py")
    assert found["absolute"] == ("l", "sub/b.py")
    assert found["folder"][0] == found["twice"][0] == "l"


@pytest.mark.parametrize(
    ("target", "how"),
    [
        ("/etc/passwd", "leaves"),
        ("../outside", "leaves"),
        ("nowhere", "dangles"),
        ("bad", "loops"),
        ("out/x", "dangles"),
    ],
)
def test_a_link_that_would_not_work_on_a_worker_is_an_error_that_names_it(
    top: Path, target: str, how: str
) -> None:
    write(top, **{"a.py": "1", "out/x": "1", ".gitignore": "out"})
    (top.parent / "outside").write_text("x")
    os.symlink(target, top / "bad")
    with pytest.raises(UnsafeSymlink, match=f"bad -> {target} {how}"):
        collected(top)


def test_a_tree_over_the_limit_names_its_ten_largest_before_reading_any(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "autocelery._snapshot.reading._read_once", lambda *args, **kwargs: pytest.fail("it was read")
    )
    write(top, **{f"file{number:02d}": b"x" * number * 1000 for number in range(1, 15)})
    with pytest.raises(TreeTooLarge) as raised:
        collected(top, limit=50_000)
    named = [line.split()[-1] for line in raised.value.message.splitlines() if line.startswith("  ")]
    assert named == [f"file{number:02d}" for number in range(14, 4, -1)]


def test_the_projects_own_limit_replaces_the_given_one(top: Path) -> None:
    write(top, **{"big": b"x" * 5000, "pyproject.toml": '[tool.autocelery]\nmax_size = "1k"\n'})
    with pytest.raises(TreeTooLarge):
        collected(top)
    (top / "pyproject.toml").write_text('[tool.autocelery]\nmax_size = "1m"\n')
    assert collected(top, limit=10).files == 2


def test_an_empty_tree_is_an_error(top: Path) -> None:
    (top / "void").mkdir()
    with pytest.raises(EmptyTree):
        collected(top)
    write(top, **{"a.py": "1"})
    assert paths(top) == {"a.py"}


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that another user may enter, unlike the usual ones."""
    with tempfile.TemporaryDirectory(prefix="ac-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def as_a_user_without_rights() -> Iterator[None]:
    """Root may read everything; for it, be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("closed", ["closed.py", "sub"])
def test_a_file_or_folder_that_may_not_be_read_is_an_error_that_names_it(
    open_to_all: Path, closed: str
) -> None:
    top = write(open_to_all, **{"a.py": "1", "closed.py": "2", "sub/b.py": "3"})
    memory = StatMemory()
    settle(top, memory)
    (top / closed).chmod(0)
    with as_a_user_without_rights(), pytest.raises(UnreadableFile, match=closed):
        collected(top, memory)
    with as_a_user_without_rights(), pytest.raises(UnreadableFile, match=closed):
        collected(top)
    (top / closed).chmod(0o755)
    assert collected(top, memory) == collected(top)


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        collected(tmp_path / "nowhere")


def test_a_name_that_is_not_utf8_is_an_error_that_shows_it(top: Path) -> None:
    write(top, **{"a.py": "1"})
    with open(os.fsencode(top) + b"/caf\xe9.py", "w"):
        pass
    with pytest.raises(BadFileName, match=r"caf\\xe9"):
        collected(top)


def test_a_file_that_changes_each_time_it_is_read_is_an_error(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(top, **{"a.py": "1", "busy.log": "0"})
    from autocelery._snapshot import reading

    original, turns = reading._hash, []

    def while_it_is_written(file: int, size: int, keep: bool) -> tuple[str, bytes]:
        if os.fstat(file).st_ino == (top / "busy.log").stat().st_ino:
            turns.append(1)
            with open(top / "busy.log", "a") as log:
                log.write("more")
        return original(file, size, keep)

    monkeypatch.setattr(reading, "_hash", while_it_is_written)
    with pytest.raises(FileKeepsChanging, match=r"busy\.log"):
        collected(top)
    assert len(turns) == 5
    monkeypatch.undo()
    assert paths(top) == {"a.py", "busy.log"}


def test_a_tree_that_failed_once_is_right_when_it_is_mended(top: Path) -> None:
    memory = StatMemory()
    write(top, **{"a.py": "1", "sub/b.py": "2"})
    settle(top, memory)
    os.symlink("nowhere", top / "bad")
    write(top, **{"sub/b.py": "3"})
    with pytest.raises(UnsafeSymlink):
        collected(top, memory)
    (top / "bad").unlink()
    assert collected(top, memory) == collected(top)


def test_rules_that_change_take_effect_at_once(top: Path) -> None:
    memory = StatMemory()
    write(top, **{"a.py": "1", "b.py": "2", ".env": "A=1"})
    settle(top, memory)
    without = collect(top, memory=memory, limit=LIMIT, rules=ShipRules(exclude=("b.py",)))
    assert set(contents(without)) == {"a.py"}
    named = collect(top, memory=memory, limit=LIMIT, rules=ShipRules(include=(".env",)))
    assert set(contents(named)) == {"a.py", "b.py", ".env"}
