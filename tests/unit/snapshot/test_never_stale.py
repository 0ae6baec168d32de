"""Whatever happens to a tree, what is remembered of it never differs from what is on the disk."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autocelery._snapshot import CollectedTree, StatMemory
from autocelery.errors import AutoceleryError
from tests.unit.snapshot.making import collected, git, repository

FOLDERS = ["", "x", "y", "x/z", "y/w", "x/z/q"]
NAMES = ["a.py", "b.py", "c.txt", "d", ".env", "k.pem", "e.log", "l1", "l2"]
RULES = [
    "",
    '[tool.autocelery]\nexclude = ["y"]\n',
    '[tool.autocelery]\ninclude = ["**/*.log", "x/.env"]\n',
    '[tool.autocelery]\ninclude = ["x"]\nexclude = ["**/c.txt"]\n',
]


class Storm:
    """Changes to the tree at ``top``, each as a person, an editor or git might make it."""

    def __init__(self, top: Path, seed: int, has_git: bool) -> None:
        self.top = top
        self.random = random.Random(seed)
        self.changes: list[Callable[[], object]] = [
            self.write, self.write, self.write, self.remove, self.remove_folder, self.link, self.ignore,
            self.change_mode, self.move, self.change_rules,
        ]  # fmt: skip
        if has_git:
            self.changes += [self.change_index, self.start_repository]

    def strike(self) -> None:
        """Make one change, unless the tree is not such that it can be made."""
        try:
            self.random.choice(self.changes)()
        except (OSError, subprocess.CalledProcessError):
            return

    def place(self) -> Path:
        return self.top / self.random.choice(FOLDERS) / self.random.choice(NAMES)

    def write(self) -> None:
        path = self.place()
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.stat() if path.exists() else None
        path.write_bytes(self.random.choice([b"1", b"2", b"3", b"PRIVATE KEY"]))
        if before is not None and self.random.random() < 0.5:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def remove(self) -> None:
        self.place().unlink()

    def remove_folder(self) -> None:
        shutil.rmtree(self.top / self.random.choice(FOLDERS[1:]))

    def link(self) -> None:
        os.symlink(self.random.choice(["a.py", "../a.py", "x", "../y", ".env", "k.pem"]), self.place())

    def ignore(self) -> None:
        rules = self.random.choice(["", "*.log\n", "x/\n", "*.txt\n!c.txt\n", "z\n"])
        (self.top / self.random.choice(FOLDERS) / ".gitignore").write_text(rules)

    def change_mode(self) -> None:
        self.place().chmod(self.random.choice([0o644, 0o755]))

    def move(self) -> None:
        self.place().rename(self.place())

    def change_rules(self) -> None:
        (self.top / "pyproject.toml").write_text(self.random.choice(RULES))

    def change_index(self) -> None:
        git(
            self.top, *self.random.choice([["add", "-A"], ["rm", "-rq", "--cached", "."], ["add", "-f", "."]])
        )

    def start_repository(self) -> None:
        repository(self.top / self.random.choice(FOLDERS[1:]))


def outcome(top: Path, memory: StatMemory | None) -> CollectedTree | type[AutoceleryError]:
    try:
        return collected(top, memory)
    except AutoceleryError as error:
        return type(error)


@pytest.mark.parametrize("has_git", [True, False], ids=["git", "plain"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_remembered_tree_is_the_tree_on_the_disk_after_any_change(
    tmp_path: Path, seed: int, has_git: bool
) -> None:
    top = tmp_path / "top"
    repository(top) if has_git else top.mkdir()
    storm = Storm(top, seed, has_git)
    memory = StatMemory(tmp_path / "memory")
    for turn in range(40):
        storm.strike()
        storm.strike()
        if turn % 10 == 9:
            memory.save()
            memory = StatMemory(tmp_path / "memory")
        assert outcome(top, memory) == outcome(top, None), f"turn {turn}"
