"""Laying out and caching: whole or not at all, never outside, never in the way of the interpreter."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from autocelery._model import Manifest
from autocelery._snapshot import BlobCache, layout, tree
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.layout import is_whole, lay_out, remove, sweep
from autocelery._snapshot.manifest import snapshot_id
from autocelery._snapshot.plan import plan
from autocelery._snapshot.tree import Entry
from autocelery._snapshot.trees import walk
from autocelery.errors import DiskFull, SnapshotIncomplete, SnapshotInvalid
from tests.unit.snapshot.making import LIMIT, collected, manifest_of, write

EMPTY = digest_of(b"")


class Made:
    """A snapshot made by hand: nodes by their digest, blobs in a cache, folders of the worker."""

    def __init__(self, worker: Path) -> None:
        self.nodes: dict[str, bytes] = {}
        self.cache = BlobCache(worker / "blobs", LIMIT)
        self.cache.add(EMPTY, b"")
        self.folder = worker / "snapshots"

    def node(self, *entries: tuple[str, str, str]) -> str:
        raw = tree.encode([Entry(name, kind, 0, digest) for name, kind, digest in entries])
        self.nodes[digest_of(raw)] = raw
        return digest_of(raw)

    def files(self, *names: str) -> str:
        return self.node(*((name, "f", EMPTY) for name in names))

    def lay_out(self, *roots: str, paths: tuple[str, ...] = ("tree",)) -> Path:
        made = manifest_of(*roots, import_paths=paths)
        return self.lay_out_manifest(made)

    def lay_out_manifest(self, made: Manifest) -> Path:
        return lay_out(
            made, snapshot_id(made), node=self.nodes.__getitem__, blob=self.cache.get, folder=self.folder
        )


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_files_are_hard_links_that_nobody_can_write_by_accident(made: Made) -> None:
    place = made.lay_out(made.node(("a.py", "f", EMPTY), ("run", "x", EMPTY)))
    cached = made.cache.get(EMPTY)
    assert cached is not None
    assert (place / "tree/a.py").samefile(cached)
    assert (place / "tree/a.py").stat().st_mode & 0o777 == 0o444
    assert (place / "tree/run").stat().st_mode & 0o777 == 0o555
    assert cached.stat().st_mode & 0o777 == 0o444


def test_where_links_cannot_be_made_files_are_copied(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    root = made.files("a.py")
    place = made.lay_out(root)
    assert (place / "tree/a.py").stat().st_mode & 0o777 == 0o444
    assert is_whole(place, manifest_of(root), made.nodes.__getitem__)


def test_a_second_layout_is_the_first_one(made: Made) -> None:
    root = made.files("a.py")
    assert made.lay_out(root).stat().st_ino == made.lay_out(root).stat().st_ino


def _lay_out_in_a_process(worker: Path, start: Callable[[], object]) -> None:
    made = Made(worker)
    root = made.files(*(f"{number}.py" for number in range(300)))
    start()
    assert len(list((made.lay_out(root) / "tree").iterdir())) == 300


def test_processes_that_lay_out_the_same_snapshot_at_once_all_succeed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [
        context.Process(target=_lay_out_in_a_process, args=(tmp_path, barrier.wait)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list((tmp_path / "snapshots").glob("[!.]*"))) == 1
    assert list((tmp_path / "snapshots/.scratch").iterdir()) == []


def _die_halfway(worker: Path) -> None:
    made = Made(worker)

    def blob(digest: str) -> Path | None:
        os.kill(os.getpid(), signal.SIGKILL)
        return made.cache.get(digest)

    root = manifest_of(made.files("a.py"))
    lay_out(root, snapshot_id(root), node=made.nodes.__getitem__, blob=blob, folder=made.folder)


def test_a_crash_halfway_leaves_only_a_scratch_folder_that_is_swept(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die_halfway, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == [layout.SCRATCH]
    assert sweep(tmp_path / "snapshots", older_than=-1) == 1
    assert list((tmp_path / "snapshots/.scratch").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["sitecustomize.py", "usercustomize.py", "x.pth", "celery.py", "autocelery.py", "autocelery_host.pyc",
     "celery.cpython-311-x86_64-linux-gnu.so", "Celery.PY"],
)  # fmt: skip
def test_a_file_that_shadows_a_hook_at_an_import_paths_top_is_refused(made: Made, name: str) -> None:
    with pytest.raises(SnapshotInvalid, match="take the place"):
        made.lay_out(made.files("a.py", name))
    src = made.node(("src", "d", made.files(name)))
    with pytest.raises(SnapshotInvalid, match="take the place"):
        made.lay_out(src, paths=("tree/src",))
    assert made.lay_out(src).is_dir()


def test_a_package_that_shadows_a_hook_is_refused_and_a_folder_that_is_none_is_not(made: Made) -> None:
    package = made.node(("celery", "d", made.files("__init__.py")))
    with pytest.raises(SnapshotInvalid, match="take the place"):
        made.lay_out(package)
    assert made.lay_out(made.node(("celery", "d", made.files("Dockerfile")))).is_dir()
    linked = made.node(("pkg", "d", made.files("__init__.py")), ("celery", "l", "pkg"))
    with pytest.raises(SnapshotInvalid, match="take the place"):
        made.lay_out(linked)


def test_an_import_path_that_is_a_link_is_looked_through(made: Made) -> None:
    root = made.node(("lib", "d", made.files("sitecustomize.py")), ("src", "l", "lib"))
    with pytest.raises(SnapshotInvalid, match="take the place"):
        made.lay_out(root, paths=("tree/src",))


@pytest.mark.parametrize("paths", [("tree/none",), ("tree/a.py",)])
def test_an_import_path_that_is_no_folder_is_refused(made: Made, paths: tuple[str, ...]) -> None:
    with pytest.raises(SnapshotInvalid):
        made.lay_out(made.files("a.py"), paths=paths)


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "..", "../../x", "nowhere", "self", "a.py/..", "d/../../x"]
)
def test_a_link_that_leads_out_or_nowhere_is_refused(made: Made, target: str) -> None:
    root = made.node(("a.py", "f", EMPTY), ("d", "d", made.files("b.py")), ("self", "l", target))
    with pytest.raises(SnapshotInvalid):
        made.lay_out(root)


def test_names_that_differ_by_case_collide_where_case_is_ignored(made: Made) -> None:
    manifest = manifest_of(made.node(("d", "d", made.files("A.py", "a.py"))))
    plan(manifest, made.nodes.__getitem__)
    with pytest.raises(SnapshotInvalid, match="one name"):
        plan(manifest, made.nodes.__getitem__, ignores_case=True)


def test_nodes_that_name_each_other_many_times_do_not_fill_the_disk(made: Made) -> None:
    digest = made.files("a", "b")
    for _level in range(40):
        digest = made.node(("a", "d", digest), ("b", "d", digest))
    with pytest.raises(SnapshotInvalid, match="more than"):
        made.lay_out(digest)


def test_folders_that_nest_without_end_are_refused(made: Made) -> None:
    digest = made.files("a")
    for _level in range(120):
        digest = made.node(("d", "d", digest))
    with pytest.raises(SnapshotInvalid, match="deep"):
        made.lay_out(digest)
    with pytest.raises(SnapshotInvalid, match="deep"):
        list(walk(digest, lambda names: {name: made.nodes[name] for name in names}))


def test_a_node_or_blob_that_contradicts_its_digest_is_refused(made: Made) -> None:
    root = made.files("a.py")
    made.nodes[root] += b" "
    with pytest.raises(SnapshotInvalid, match="contradicts"):
        made.lay_out(root)
    with pytest.raises(SnapshotInvalid, match="contradicts"):
        made.cache.add(EMPTY, b"x")


def test_a_blob_that_is_not_here_is_a_typed_error(made: Made) -> None:
    with pytest.raises(SnapshotIncomplete):
        made.lay_out(made.node(("a.py", "f", digest_of(b"absent"))))
    with pytest.raises(SnapshotIncomplete):
        list(walk(digest_of(b"absent"), lambda names: {}))


def test_a_full_disk_is_a_typed_error_that_leaves_nothing(made: Made, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DiskFull):
            made.cache.add(digest_of(b"x" * 5000), b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert made.cache.size() == 0
    assert list((tmp_path / "blobs").rglob(".new-*")) == []


def test_a_blob_that_was_written_to_or_cut_short_is_no_longer_there(made: Made) -> None:
    digest = digest_of(b"12345")
    for damage in (b"", b"1234", b"54321"):
        path = made.cache.add(digest, b"12345")
        path.chmod(0o644)
        path.write_bytes(damage)
        assert made.cache.get(digest) is None
        assert not path.exists()


def test_a_layout_that_was_written_to_is_not_whole(made: Made) -> None:
    root = made.node(("a.py", "f", EMPTY), ("d", "d", made.files("b.py")))
    manifest = manifest_of(root)
    place = made.lay_out(root)
    assert is_whole(place, manifest, made.nodes.__getitem__)
    (place / "tree/d/b.py").chmod(0o644)
    (place / "tree/d/b.py").write_text("changed")
    assert not is_whole(place, manifest, made.nodes.__getitem__)


def test_the_cache_keeps_to_its_size_and_evicts_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path / "blobs", limit=3500)
    blobs = [bytes([number]) * 1000 for number in range(6)]
    for age, raw in enumerate(blobs):
        path = cache.add(digest_of(raw), raw)
        os.utime(path, ns=(10**18 + age, path.stat().st_mtime_ns))
    assert cache.get(digest_of(blobs[0])) is not None
    assert cache.evict(in_use={digest_of(blobs[1])}) == 3000
    left = [number for number, raw in enumerate(blobs) if cache.get(digest_of(raw))]
    assert left == [0, 1, 5]
    assert cache.size() == 3000


def test_what_a_layout_shares_is_evicted_only_after_the_layout_is_removed(made: Made, tmp_path: Path) -> None:
    raw = b"x" * 1000
    made.cache.add(digest_of(raw), raw)
    place = made.lay_out(made.node(("a.py", "f", digest_of(raw))))
    small = BlobCache(tmp_path / "blobs", limit=0)
    small.evict()
    assert small.get(digest_of(raw)) is not None
    remove(place, made.folder)
    assert small.evict() == 1000
    assert not place.exists()


def test_a_walk_asks_once_a_level_and_names_nothing_twice(tmp_path: Path) -> None:
    top = write(tmp_path / "p", **{"a.py": "1", "d/b.py": "2", "e/b.py": "2", "d/deep/c.py": "1"})
    one = collected(top)
    asked: list[list[str]] = []

    def fetch(names: object) -> dict[str, bytes]:
        asked.append(sorted(names))  # type: ignore[call-overload]
        return {name: one.nodes[name] for name in asked[-1]}

    levels = list(walk(one.digest, fetch))
    assert len(asked) == 3
    assert sum(len(level.nodes) for level in levels) == len(one.nodes)
    assert {digest for level in levels for digest in level.blobs} == set(one.sources)
    assert sum(len(level.blobs) for level in levels) == 2
