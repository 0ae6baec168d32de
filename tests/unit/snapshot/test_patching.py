"""A layout that becomes the next one is, byte for byte, what a fresh layout would be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocelery._model import AppSource, Manifest, Root
from autocelery._snapshot import layout, manifest, tree
from autocelery._snapshot.cache import BlobCache
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.patching import edit_between, is_untouched, patch, times_after, times_of

NAMES = st.sampled_from(["a.py", "b.py", "c.txt", "pkg", "deep"])
TREES = st.recursive(
    st.dictionaries(NAMES, st.binary(max_size=6), min_size=1, max_size=4),
    lambda inner: st.dictionaries(NAMES, st.one_of(st.binary(max_size=6), inner), min_size=1, max_size=4),
    max_leaves=12,
)


class Place:
    """A worker's folder: its blobs, nodes and layouts."""

    def __init__(self, folder: Path) -> None:
        self.cache = BlobCache(folder / "blobs", 2**30)
        self.folder = folder / "snapshots"
        self.folder.mkdir()
        self.nodes: dict[str, bytes] = {}

    def put(self, content: dict[str, object]) -> tuple[str, int]:
        entries, total = [], 0
        for name, value in content.items():
            if isinstance(value, bytes):
                digest, size, kind = digest_of(value), len(value), tree.FILE
                self.cache.add(digest, value)
            else:
                digest, size = self.put(value)
                kind = tree.FOLDER
            entries.append(tree.Entry(name, kind, size, digest))
            total += size
        raw = tree.encode(entries)
        self.nodes[digest_of(raw)] = raw
        return digest_of(raw), total

    def manifest(self, content: dict[str, object]) -> Manifest:
        root = Root("tree", self.put(content)[0])
        return Manifest((root,), ("tree",), "tree", "3.11", AppSource(settings={}))

    def lay_out(self, described: Manifest, folder: Path | None = None) -> Path:
        return layout.lay_out(
            described,
            manifest.snapshot_id(described),
            node=self.nodes.__getitem__,
            blob=self.cache.find,
            folder=folder or self.folder,
        )

    def edit(self, before: Manifest, after: Manifest):
        return edit_between(before, after, self.given, self.given)

    def given(self, names: Collection[str]) -> dict[str, bytes]:
        return {name: self.nodes[name] for name in names}


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        os.path.relpath(path, folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@settings(max_examples=60)
@given(before=TREES, after=TREES)
def test_a_patched_layout_is_what_a_fresh_one_would_be(
    before: dict[str, object], after: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = Place(tmp_path_factory.mktemp("patching"))
    old, new = place.manifest(before), place.manifest(after)
    edit = place.edit(old, new)
    if edit is None or old == new:
        return
    donor = place.lay_out(old)
    times = times_of(donor)
    scratch = layout.scratch_place(place.folder)
    donor.rename(scratch)
    patched = patch(scratch, edit, place.cache.get, place.folder / manifest.snapshot_id(new))
    assert patched is not None
    fresh = Place(tmp_path_factory.mktemp("fresh"))
    assert files_in(patched) == files_in(fresh.lay_out(fresh.manifest(after)))
    assert layout.is_whole(patched, new, place.nodes.__getitem__)
    assert times_after(edit, patched, times) == times_of(patched)


def test_an_edit_of_contents_is_found_and_names_only_the_files_that_changed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    old = place.manifest({"pkg": {"a.py": b"1", "b.py": b"2"}, "c.txt": b"3"})
    new = place.manifest({"pkg": {"a.py": b"1", "b.py": b"changed"}, "c.txt": b"3"})
    edit = place.edit(old, new)
    assert edit is not None
    assert [path for path, _, _ in edit.files] == ["tree/pkg/b.py"]
    assert len(edit.new) == len(edit.old) == 2


@pytest.mark.parametrize(
    "after",
    [
        {"a.py": b"1", "b.py": b"2", "new.py": b""},
        {"a.py": b"1"},
        {"a.py": {"inner": b"1"}, "b.py": b"2"},
        {"A.py": b"1", "b.py": b"2"},
    ],
    ids=["a new file", "a removed file", "a file that became a folder", "another name"],
)
def test_whatever_is_more_than_contents_asks_for_a_whole_layout(
    tmp_path: Path, after: dict[str, object]
) -> None:
    place = Place(tmp_path)
    assert place.edit(place.manifest({"a.py": b"1", "b.py": b"2"}), place.manifest(after)) is None


def replace_with_a_link(place: Path) -> None:
    shutil.copytree(place / "tree/pkg", place.parent / "elsewhere")
    shutil.rmtree(place / "tree/pkg")
    (place / "tree/pkg").symlink_to(place.parent / "elsewhere")


@pytest.mark.parametrize(
    "touch",
    [
        lambda place: (place / "tree/pkg/deep/result.csv").write_text("1"),
        lambda place: (place / "tree/made").mkdir(),
        lambda place: (place / "tree/pkg/b.py").unlink(),
        lambda place: (place / "tree/pkg/b.py").rename(place / "tree/pkg/c.py"),
        lambda place: shutil.rmtree(place / "tree/pkg/deep"),
        replace_with_a_link,
    ],
    ids=["a file", "a folder", "a removed file", "another name", "a removed folder", "a link"],
)
def test_a_layout_beside_whose_code_something_was_written_is_not_used_for_another(
    tmp_path: Path, touch: Callable[[Path], object]
) -> None:
    place = Place(tmp_path)
    made = place.lay_out(place.manifest({"pkg": {"b.py": b"2", "deep": {"c.txt": b"3"}}}))
    for folder in (made, *(each for each in made.rglob("*") if each.is_dir())):
        os.utime(folder, (0, 0))  # a file system's clock is too slow to tell this moment from the next
    times = times_of(made)
    assert is_untouched(made, times)
    touch(made)
    assert not is_untouched(made, times)


def test_a_patch_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    place = Place(tmp_path)
    old, new = place.manifest({"a.py": b"1"}), place.manifest({"a.py": b"2"})
    edit = place.edit(old, new)
    assert edit is not None
    scratch = layout.scratch_place(place.folder)
    place.lay_out(old).rename(scratch)
    missing = tmp_path / "missing"
    assert patch(scratch, edit, lambda digest: missing, place.folder / "0") is None
    assert not scratch.exists()


def test_what_a_layout_was_is_asked_of_nobody(tmp_path: Path) -> None:
    place = Place(tmp_path)
    before, after = place.manifest({"a.py": b"1"}), place.manifest({"a.py": b"2"})
    asked: list[str] = []

    def nodes(names: Collection[str]) -> dict[str, bytes]:
        asked.extend(names)
        return place.given(names)

    assert edit_between(before, after, lambda names: None, nodes) is None
    assert asked == []
