"""What holds for every tree and every manifest."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autocelery._model import AppSource, Manifest, Package, Root
from autocelery._snapshot import BlobCache, StatMemory, lay_out, manifest, tree
from autocelery._snapshot.canonical import canonical_json, digest_of
from autocelery._snapshot.chunking import WHOLE_MAX
from autocelery.errors import AutoceleryError, SnapshotInvalid
from tests.conftest import remove_tree
from tests.unit.snapshot.making import LIMIT, collected, laid_out, manifest_of
from tests.unit.snapshot.trees_at_random import Tree, read_back, trees

few = settings(max_examples=40)

digests = st.sampled_from([digest_of(b"one"), digest_of(b"two")])
texts = st.text(st.characters(codec="utf-8"), max_size=10)
names = texts.filter(lambda name: name not in ("", ".", "..") and "/" not in name and "\0" not in name)
json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ac-", ignore_cleanup_errors=True) as path:
        yield Path(path)
        remove_tree(Path(path))


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    roots = [Root(name, draw(digests)) for name in draw(st.lists(names, min_size=1, max_size=3, unique=True))]
    inside = st.builds(
        lambda root, rest: "/".join([root.name, *rest]), st.sampled_from(roots), st.lists(names, max_size=2)
    )
    maybe = st.one_of(st.none(), texts)
    app = AppSource(
        draw(maybe), draw(maybe), draw(maybe), draw(st.dictionaries(texts, json_values, max_size=3))
    )
    packages = draw(st.lists(st.builds(Package, texts, texts, texts), max_size=3))
    return Manifest(
        tuple(roots), tuple(draw(st.lists(inside, max_size=3))), draw(inside), "3.11", app, tuple(packages),
        draw(st.one_of(st.none(), digests)),
    )  # fmt: skip


@given(manifests())
def test_a_manifest_comes_back_as_it_was_and_has_one_spelling(one: Manifest) -> None:
    raw = manifest.encode(one)
    assert manifest.encode(manifest.decode(raw)) == raw
    assert canonical_json(dict(manifest.decode(raw).app.settings)) == canonical_json(dict(one.app.settings))


@given(manifests(), st.data())
def test_a_manifest_with_one_part_replaced_is_refused_or_still_canonical(
    one: Manifest, data: st.DataObject
) -> None:
    import json

    value = json.loads(manifest.encode(one))
    value[data.draw(st.sampled_from(sorted(value)))] = data.draw(json_values)
    raw = canonical_json(value)
    try:
        decoded = manifest.decode(raw)
    except SnapshotInvalid:
        return
    assert manifest.encode(decoded) == raw


@given(st.binary(max_size=100))
def test_bytes_that_are_no_manifest_and_no_node_are_refused_with_a_typed_error(raw: bytes) -> None:
    for decode in (manifest.decode, tree.decode):
        try:
            decode(raw)
        except SnapshotInvalid:
            continue
        raise AssertionError(raw)


entries = st.one_of(
    st.builds(tree.Entry, names, st.sampled_from("fx"), st.integers(0, WHOLE_MAX), digests, st.just("")),
    st.builds(tree.Entry, names, st.sampled_from("fx"), st.integers(WHOLE_MAX + 1, 2**60), digests, digests),
    st.builds(tree.Entry, names, st.just("d"), st.integers(0, 2**60), digests, st.just("")),
    st.builds(tree.Entry, names, st.just("l"), st.just(0), names, st.just("")),
)


@given(st.lists(entries, min_size=1, max_size=6, unique_by=lambda entry: entry.name), st.randoms())
def test_a_node_comes_back_as_it_was_whatever_the_order(some: list[tree.Entry], random: object) -> None:
    raw = tree.encode(some)
    shuffled = list(reversed(some))
    assert tree.encode(shuffled) == raw
    assert tree.decode(raw) == tuple(sorted(some))


@few
@given(trees())
def test_a_layout_is_the_tree_that_was_collected(one: Tree) -> None:
    with folder() as place:
        top = one.write(place / "top")
        laid = read_back(laid_out(collected(top), place / "worker"))
    assert laid == Tree(one.files, one.links)


@few
@given(trees())
def test_the_digest_is_the_same_wherever_the_tree_lies_and_however_it_was_made(one: Tree) -> None:
    with folder() as place:
        here = one.write(place / "here")
        there = one.write(place / "some where" / "else", backwards=True)
        memory = StatMemory(place / "memory")
        first = collected(here, memory)
        assert collected(there, memory).digest == first.digest
        assert collected(here, memory).digest == first.digest
        memory.save()
        assert collected(here, StatMemory(place / "memory")).digest == first.digest


@few
@given(trees(), st.data())
def test_an_edit_changes_the_nodes_on_its_path_and_no_other(one: Tree, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(one.files)))
    raw = data.draw(st.binary(max_size=40))
    assume(raw != one.files[path][0])
    with folder() as place:
        top = one.write(place / "top")
        memory = StatMemory()
        before = collected(top, memory)
        (top / path).write_bytes(raw)
        after = collected(top, memory)
        assert len(after.nodes.keys() - before.nodes.keys()) <= path.count("/") + 1
        assert after.digest != before.digest
        assert after == collected(top)


ordinary = st.sampled_from(["a", "b", "A", "x.py", "l", "tree"])
wild_names = st.one_of(
    ordinary, ordinary, ordinary, names,
    st.sampled_from(["..", ".", "", "/etc", "../x", "a/b", "a\0b", "celery.py", "x.pth"]),
)  # fmt: skip
wild_targets = st.one_of(
    ordinary, st.sampled_from(["..", "../..", "/etc/passwd", "./a/../..", "x/../../y", "a/b", "a/../b", "."])
)


@st.composite
def wild_nodes(draw: st.DrawFn) -> tuple[dict[str, bytes], list[str]]:
    """Draw nodes that may be anything, each naming some drawn before it."""
    nodes: dict[str, bytes] = {}
    blobs = [digest_of(b"one"), digest_of(b"two")]
    for _ in range(draw(st.integers(1, 4))):
        is_tame = draw(st.integers(0, 9)) > 0
        lines = []
        for name in draw(st.lists(wild_names, min_size=1, max_size=3, unique=is_tame)):
            kind = draw(st.sampled_from("fxdl" if nodes or not is_tame else "fxl"))
            named = list(nodes) if kind == "d" and is_tame else [*blobs, *([] if is_tame else nodes)]
            digest = draw(wild_targets) if kind == "l" else draw(st.sampled_from(named))
            lines.append([name, kind, 0 if kind == "l" else 3, digest])
        raw = canonical_json(sorted(lines) if is_tame else lines)
        nodes[digest_of(raw)] = raw
    return nodes, list(nodes)


@settings(max_examples=150)
@given(wild_nodes(), st.data())
def test_a_fuzzed_snapshot_never_writes_outside_its_folder(
    wild: tuple[dict[str, bytes], list[str]], data: st.DataObject
) -> None:
    nodes, order = wild
    root = data.draw(st.sampled_from([order[-1], *order]))
    name = data.draw(st.sampled_from(["tree", "tree", "tree", "..", "../out", "/ac-out"]))
    made = Manifest((Root(name, root),), (), name, "3.11", AppSource())
    with folder() as place:
        cache = BlobCache(place / "blobs", LIMIT)
        for raw in (b"one", b"two"):
            cache.add(digest_of(raw), raw)
        before = set(place.rglob("*"))
        try:
            decoded = manifest.decode(manifest.encode(made))
            laid = lay_out(
                decoded, digest_of(b"id"), node=lambda digest: nodes.get(digest, b""), blob=cache.get,
                folder=place / "snapshots",
            )  # fmt: skip
        except AutoceleryError:
            laid = place / "snapshots"
            assert not (laid / digest_of(b"id")).exists()
        for path in set(place.rglob("*")) - before:
            assert path == place / "snapshots" or path.is_relative_to(place / "snapshots")
            assert not path.is_symlink() or Path(os.path.realpath(path)).is_relative_to(laid)
        assert {path.name for path in (place / "snapshots").glob(".scratch/*")} == set()
    assert not Path("/ac-out").exists()


def test_two_roots_lie_beside_each_other() -> None:
    with folder() as place:
        one = Tree({"a.py": (b"1", False)}).write(place / "one")
        two = Tree({"b.py": (b"2", False)}).write(place / "two")
        first, second = collected(one), collected(two)
        cache = BlobCache(place / "blobs", LIMIT)
        for each in (first, second):
            for digest in each.sources:
                cache.add(digest, each.read(digest) or b"")
        nodes = {**first.nodes, **second.nodes}
        made = manifest_of(first.digest, second.digest, import_paths=("tree", "root-1-x"))
        laid = lay_out(
            made, manifest.snapshot_id(made), node=nodes.__getitem__, blob=cache.get, folder=place / "s"
        )
        assert (laid / "tree" / "a.py").read_bytes() == b"1"
        assert (laid / "root-1-x" / "b.py").read_bytes() == b"2"
