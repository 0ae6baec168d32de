"""What is the folder's own about its blob store: atomic files, ages, a disk that is full."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from autocelery._blobs.folder import FolderStore
from autocelery.errors import StoreFull
from tests.limits import files_of_at_most

ONE = "a" * 64
WEEK = 7 * 24 * 3600


def test_a_full_disk_is_a_typed_error_that_leaves_no_half_file(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "blobs")
    with files_of_at_most(1000), pytest.raises(StoreFull):
        store.put({ONE: b"x" * 5000})
    assert store.get([ONE]) == {}
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


def test_what_nobody_asked_for_is_swept_and_what_was_asked_for_stays(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    old, used = "b" * 64, "c" * 64
    store.put({old: b"1", used: b"2"})
    leftover = tmp_path / "bb" / ".new-0011"
    leftover.write_bytes(b"half")
    long_ago = time.time() - 2 * WEEK
    for path in (tmp_path / "bb" / old, tmp_path / "cc" / used, leftover):
        os.utime(path, (long_ago, long_ago))
    assert store.missing([used]) == set()
    assert store.sweep(WEEK) == 2
    assert store.missing([old, used]) == {old}
    assert not leftover.exists()


def test_a_put_sweeps_when_the_last_sweep_is_long_ago(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put({ONE: b"1"})
    long_ago = time.time() - 2 * WEEK
    for path in (tmp_path / "aa" / ONE, tmp_path / ".swept"):
        os.utime(path, (long_ago, long_ago))
    store.put({"d" * 64: b"2"})
    assert store.missing([ONE]) == {ONE}


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/b", "", ".hidden", "a\0b", "a" * 300])
def test_a_name_that_is_a_path_reaches_no_file(tmp_path: Path, name: str) -> None:
    store = FolderStore(tmp_path / "blobs")
    with pytest.raises(ValueError, match="cannot be the name"):
        store.put({name: b"x"})
    with pytest.raises(ValueError, match="cannot be the name"):
        store.get([name])
