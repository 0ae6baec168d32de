"""`[tool.autocelery]`: what it takes, and what nonsense in it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocelery._snapshot import ShipRules
from autocelery.errors import ConfigurationError


def read(top: Path, text: str) -> ShipRules:
    (top / "pyproject.toml").write_text(text)
    return ShipRules.read(top)


def test_without_a_table_nothing_changes(tmp_path: Path) -> None:
    assert ShipRules.read(tmp_path) == ShipRules()
    assert read(tmp_path, "[project]\nname='x'\n") == ShipRules()


def test_the_tables_of_up_and_of_the_doctor_stand_beside_it(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        """
        [tool.autocelery]
        exclude = ["notebooks"]
        [tool.autocelery.doctor]
        ignore = ["AC075"]
        [tool.autocelery.queues]
        hello = { tasks = ["proj.tasks.say_hello"] }
        [tool.autocelery.up]
        app = "proj"
        """,
    )
    assert rules == ShipRules(exclude=("notebooks",))


@pytest.mark.parametrize(
    ("text", "size"),
    [("1000", 1000), ('"200m"', 200 * 2**20), ('"2 GB"', None), ('"2g"', 2 * 2**30), ('"5kb"', 5120)],
)
def test_a_size_is_bytes_or_a_number_with_a_unit(tmp_path: Path, text: str, size: int | None) -> None:
    if size is None:
        with pytest.raises(ConfigurationError, match="max_size"):
            read(tmp_path, f"[tool.autocelery]\nmax_size = {text}")
    else:
        assert read(tmp_path, f"[tool.autocelery]\nmax_size = {text}").max_size == size


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('include = "data"', "tool.autocelery.include"),
        ("exclude = [1]", "tool.autocelery.exclude"),
        ('include = ["../x"]', "tool.autocelery.include"),
        ('include = ["/abs"]', "tool.autocelery.include"),
        ('exclude = ["!x"]', "tool.autocelery.exclude"),
        ('exclude = [""]', "tool.autocelery.exclude"),
        ('exclude = ["[z-a].csv"]', "tool.autocelery.exclude"),
        ("max_size = -1", "tool.autocelery.max_size"),
        ("max_size = true", "tool.autocelery.max_size"),
        ('max_size = "big"', "tool.autocelery.max_size"),
        ("excludes = []", "Did you mean 'exclude'"),
        ("qeues = {}", "Did you mean 'queues'"),
        ("colour = {}", "lock, doctor, queues, up"),
        ("zzz = 1", "tool.autocelery.zzz"),
        ("= 1", "not valid TOML"),
    ],
)
def test_nonsense_is_an_error_that_names_the_key(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read(tmp_path, f"[tool.autocelery]\n{line}\n")
    assert says in raised.value.message
    assert "pyproject.toml" in raised.value.message


def test_a_table_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tool\.autocelery"):
        read(tmp_path, "[tool]\nautocelery = 1\n")


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("data", "data/a/b.csv", True),
        ("data", "sub/data/x", False),
        ("data/*.csv", "data/x.csv", True),
        ("data/*.csv", "data/sub/x.csv", False),
        ("data/**/*.csv", "data/x.csv", True),
        ("**/*.csv", "deep/down/x.csv", True),
        ("*.csv", "sub/x.csv", False),
    ],
)
def test_globs_are_relative_to_the_top(glob: str, path: str, matches: bool) -> None:
    assert ShipRules(include=(glob,)).includes(path) is matches
    assert ShipRules(exclude=(glob,)).excludes(path) is matches
