"""Large files are cut where their content says so, and put together from what is there and what is fetched."""

from __future__ import annotations

import array
import os
import random
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocelery._snapshot import BlobCache, ShipRules, StatMemory, chunk_list, collect
from autocelery._snapshot.assembling import Donors, assemble
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.chunk_list import Chunk
from autocelery._snapshot.chunking import CHUNK_MAX, CHUNK_MIN, WHOLE_MAX, chunks_in
from autocelery.errors import DiskFull, SnapshotIncomplete, SnapshotInvalid
from tests.limits import files_of_at_most
from tests.unit.snapshot.making import collected, settle

MEGABYTE = 2**20
SIZES_OF_RANDOM = [
    246612,
    148541,
    174721,
    269655,
    213404,
    337558,
    393674,
    144887,
    321819,
    163354,
    392991,
    338512,
]


def numbers(count: int) -> bytes:
    return random.Random(4).randbytes(count)


def rows(count: int) -> bytes:
    dice = random.Random(5)
    return b"".join(
        b"%d,%.5f,item-%d\n" % (number, dice.random(), dice.randrange(50)) for number in range(count)
    )


def small_integers(count: int) -> bytes:
    dice = random.Random(6)
    return array.array("i", [dice.randrange(3) for _ in range(count)]).tobytes()


DATA = {
    "random": numbers(3 * MEGABYTE),
    "a table": rows(120_000),
    "small integers": small_integers(750_000),
    "zeros": bytes(3 * MEGABYTE),
}


def cut(raw: bytes) -> list[bytes]:
    return [bytes(chunk) for chunk in chunks_in(BytesIO(raw).read)]


def listed(raw: bytes) -> list[Chunk]:
    return [Chunk(len(chunk), digest_of(chunk)) for chunk in cut(raw)]


def bytes_to_send(before: bytes, after: bytes) -> int:
    """Return the bytes of the chunks of ``after`` that ``before`` has not."""
    return sum(chunk.size for chunk in set(listed(after)) - set(listed(before)))


@pytest.mark.parametrize("raw", DATA.values(), ids=DATA)
def test_chunks_are_the_file_and_have_their_sizes(raw: bytes) -> None:
    chunks = cut(raw)
    assert b"".join(chunks) == raw
    assert all(CHUNK_MIN <= len(chunk) <= CHUNK_MAX for chunk in chunks[:-1])
    assert len(chunks[-1]) <= CHUNK_MAX


def test_cuts_are_the_same_on_every_machine_and_in_every_release() -> None:
    sizes = [chunk.size for chunk in listed(DATA["random"])]
    assert sizes == SIZES_OF_RANDOM, "stores and workers hold chunks that were cut otherwise"


@pytest.mark.parametrize("raw", DATA.values(), ids=DATA)
def test_an_edit_sends_the_chunks_around_it_and_no_other(raw: bytes) -> None:
    middle = len(raw) // 2
    edits = {
        "a byte changed": raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :],
        "inserted at the beginning": b"one more line\n" + raw,
        "inserted in the middle": raw[:middle] + b"one more line\n" + raw[middle:],
        "removed": raw[:middle] + raw[middle + 100 :],
        "appended": raw + b"one more line\n",
    }
    sent = {name: bytes_to_send(raw, edited) for name, edited in edits.items()}
    assert max(sent.values()) <= 2 * CHUNK_MAX, sent


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(50_000, 3 * MEGABYTE), min_size=1, max_size=5))
def test_cuts_do_not_depend_on_how_the_file_is_read(sizes: list[int]) -> None:
    raw = DATA["a table"]
    file = BytesIO(raw)
    dice = random.Random(1)
    read = [bytes(chunk) for chunk in chunks_in(lambda most: file.read(min(most, dice.choice(sizes))))]
    assert read == cut(raw)


digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
some_chunks = st.lists(st.builds(Chunk, st.integers(1, CHUNK_MAX), digests), max_size=8)


@given(some_chunks)
def test_a_chunk_list_comes_back_as_it_was(chunks: list[Chunk]) -> None:
    assert chunk_list.decode(chunk_list.encode(chunks), sum(each.size for each in chunks)) == tuple(chunks)


@given(some_chunks, st.data())
def test_a_chunk_list_that_was_altered_is_refused_or_is_one_of_that_size(
    chunks: list[Chunk], data: st.DataObject
) -> None:
    raw, size = bytearray(chunk_list.encode(chunks)), sum(each.size for each in chunks)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = chunk_list.decode(bytes(raw), size)
    except SnapshotInvalid:
        return
    assert sum(each.size for each in found) == size
    assert all(0 < each.size <= CHUNK_MAX for each in found)


def test_a_chunk_list_with_chunks_of_impossible_sizes_is_refused() -> None:
    one = digest_of(b"")
    for chunks in ([Chunk(0, one)], [Chunk(-1, one), Chunk(1, one)], [Chunk(CHUNK_MAX + 1, one)]):
        with pytest.raises(SnapshotInvalid):
            chunk_list.decode(chunk_list.encode(chunks), sum(each.size for each in chunks))


class Made:
    """A cache, the chunks that a store would have, and what was fetched of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = BlobCache(folder, 100 * MEGABYTE)
        self.stored: dict[str, bytes] = {}
        self.fetched: list[Chunk] = []

    def fetch(self, chunks: Collection[Chunk], later: Callable[[], list[Chunk]]) -> dict[str, bytes]:
        self.fetched += chunks
        if any(chunk.digest not in self.stored for chunk in [*chunks, *later()]):
            raise SnapshotIncomplete("gone")
        return {chunk.digest: self.stored[chunk.digest] for chunk in chunks}

    def assemble(self, raw: bytes, chunks: list[Chunk] | None = None) -> Path:
        self.stored |= {digest_of(chunk): chunk for chunk in cut(raw)}
        chunks = listed(raw) if chunks is None else chunks
        return assemble(self.cache, digest_of(raw), chunks, chunk_list.encode(chunks), self.fetch)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "blobs")


def test_a_file_is_put_together_and_its_next_version_fetches_what_is_new(made: Made) -> None:
    raw = DATA["random"]
    assert made.assemble(raw).read_bytes() == raw
    assert made.fetched == listed(raw)
    made.fetched.clear()
    edited = b"x" + raw[:-1]
    path = made.assemble(edited)
    assert path.read_bytes() == edited
    assert sum(chunk.size for chunk in made.fetched) <= 2 * CHUNK_MAX
    assert made.cache.get(digest_of(edited)) == path


def test_what_is_in_a_file_many_times_is_fetched_once(made: Made) -> None:
    made.assemble(DATA["zeros"])
    assert len(made.fetched) == 1


def test_an_earlier_version_that_was_altered_is_not_believed(made: Made) -> None:
    raw = DATA["random"]
    path = made.assemble(raw)
    status = path.stat()
    path.chmod(0o600)
    path.write_bytes(bytes(len(raw)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # and nobody can tell from its times
    edited = b"x" + raw
    assert made.assemble(edited).read_bytes() == edited


def test_an_earlier_version_that_goes_away_meanwhile_is_still_read(made: Made) -> None:
    raw = DATA["random"]
    made.assemble(raw)
    with ExitStack() as opened:
        donors = Donors(made.cache, {chunk.digest for chunk in listed(raw)}, opened)
        made.cache.discard(digest_of(raw))
        assert b"".join(donors.read(chunk) or b"" for chunk in listed(raw)) == raw
    assert made.files() == []


def test_chunks_that_are_not_the_file_leave_nothing(made: Made) -> None:
    raw = DATA["random"]
    chunks = listed(raw)
    wrong = [chunks[1], chunks[0], *chunks[2:]]
    with pytest.raises(SnapshotInvalid, match="contradicts its digest"):
        made.assemble(raw, wrong)
    with pytest.raises(SnapshotInvalid, match="contradicts its digest"):
        made.assemble(raw, chunks[:-1])
    assert made.files() == []


def test_a_chunk_that_is_nowhere_leaves_nothing(made: Made) -> None:
    raw = DATA["random"]
    chunks = listed(raw)
    made.stored = {digest_of(chunk): chunk for chunk in cut(raw)[:3]}
    with pytest.raises(SnapshotIncomplete):
        assemble(made.cache, digest_of(raw), chunks, chunk_list.encode(chunks), made.fetch)
    assert made.files() == []


def test_more_bytes_than_were_told_of_are_never_written(made: Made) -> None:
    with pytest.raises(SnapshotInvalid):
        made.cache.add_pieces(digest_of(b"12345"), 4, iter([b"123", b"45"]))
    assert made.files() == []


def test_a_full_disk_is_known_before_anything_is_fetched(made: Made) -> None:
    with files_of_at_most(MEGABYTE), pytest.raises(DiskFull, match="AUTOCELERY_CACHE_MAX"):
        made.assemble(DATA["random"])
    assert made.fetched == []
    assert made.files() == []


def test_a_cache_counts_along_what_it_has(made: Made) -> None:
    cache = made.cache
    assert cache.used == 0
    made.assemble(DATA["random"])
    cache.add(digest_of(b"one"), b"one")
    cache.add(digest_of(b"one"), b"one")
    assert cache.used == cache.size() == len(DATA["random"]) + 3
    cache.discard(digest_of(b"one"))
    assert cache.used == cache.size() == len(DATA["random"])
    cache.sweep(in_use=())
    assert cache.used == cache.size() == 0


def test_room_is_asked_for_before_something_is_added(made: Made) -> None:
    asked: list[int] = []
    made.cache.make_room = asked.append
    with made.cache.room_for(500):
        assert asked == [500]
        assert made.cache.used == 500
    assert made.cache.used == 0


def test_what_a_crash_left_half_written_is_removed(made: Made) -> None:
    made.assemble(DATA["random"])
    (made.folder / "ab").mkdir(exist_ok=True)
    (made.folder / "ab" / ".new-0123").write_bytes(b"half")
    before = made.files()
    made.cache.clear_leftovers()
    assert made.files() == [each for each in before if not each.startswith(".new-")]


def test_a_large_file_is_collected_in_chunks_and_read_in_parts(tmp_path: Path) -> None:
    raw = DATA["random"]
    (tmp_path / "data.bin").write_bytes(raw)
    (tmp_path / "small.bin").write_bytes(raw[:WHOLE_MAX])
    tree = collected(tmp_path)
    assert set(tree.sources) == {digest_of(raw), digest_of(raw[:WHOLE_MAX])}
    assert set(tree.chunked) == {digest_of(raw)}
    [name] = tree.chunked.lists
    names = list(tree.blobs())
    assert set(names) == {digest_of(raw[:WHOLE_MAX]), name, *(chunk.digest for chunk in listed(raw))}
    assert names[-1] == name, "a list goes after what it names"
    read = {each: tree.read(each) or b"" for each in names}
    assert all(digest_of(content) == each for each, content in read.items())
    assert [tree.size_of(each) for each in names] == [len(read[each]) for each in names]
    assert tree.below(name) == [chunk.digest for chunk in listed(raw)]
    assert list(tree.blobs(sent={name})) == [digest_of(raw[:WHOLE_MAX]), name]


def test_a_large_file_that_changes_gives_none_of_its_old_bytes(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(DATA["random"])
    tree = collected(tmp_path)
    (tmp_path / "data.bin").write_bytes(bytes(len(DATA["random"])))
    assert {tree.read(chunk.digest) for chunk in listed(DATA["random"])} == {None}


def test_an_unchanged_large_file_costs_a_stat_also_in_the_next_process(tmp_path: Path) -> None:
    top, remembered = tmp_path / "top", tmp_path / "memory"
    top.mkdir()
    (top / "data.bin").write_bytes(DATA["random"])
    memory = StatMemory(remembered)
    tree = settle(top, memory)
    memory.save()
    before = bytes_read()
    assert collected(top, memory) is tree
    again = collected(top, StatMemory(remembered))
    assert again.digest == tree.digest
    assert again.chunked.lists.keys() == tree.chunked.lists.keys()
    assert bytes_read() - before < MEGABYTE


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_how_far_reading_is_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(DATA["random"])
    (tmp_path / "code.py").write_bytes(b"x = 1")
    told: list[tuple[int, int]] = []
    collect(
        tmp_path,
        memory=StatMemory(),
        limit=100 * MEGABYTE,
        rules=ShipRules(),
        told=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (len(DATA["random"]), len(DATA["random"]))
    assert len(told) == len(listed(DATA["random"]))


def test_cutting_keeps_up_with_a_disk() -> None:
    raw = DATA["random"]
    began = time.process_time()
    list(chunks_in(BytesIO(raw).read))
    assert len(raw) / MEGABYTE / (time.process_time() - began) > 20, "MB/s; a loop over bytes makes 5"
