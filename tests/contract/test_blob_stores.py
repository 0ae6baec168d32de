"""What every blob store can do: write one, add it to `PLACES`, and this says whether it is one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from autocelery._blobs import BlobStore
from autocelery._blobs.folder import FolderStore
from autocelery._blobs.redis import RedisStore
from autocelery.errors import StoreUnavailable
from autocelery.testing import MemoryStore
from tests import services


@dataclass(frozen=True)
class Place:
    """One place where blobs rest: ``open`` gives a client of it, ``wipe`` empties it."""

    open: Callable[[], BlobStore]
    wipe: Callable[[], None]


def memory(_request: pytest.FixtureRequest) -> Place:
    store = MemoryStore()
    return Place(lambda: store, store.wipe)


def folder(request: pytest.FixtureRequest) -> Place:
    path: Path = request.getfixturevalue("tmp_path") / "blobs"
    return Place(lambda: FolderStore(path), lambda: shutil.rmtree(path, ignore_errors=True))


def redis(request: pytest.FixtureRequest) -> Place:
    url = request.getfixturevalue("redis_url")
    prefix = request.getfixturevalue("redis_prefix")
    return Place(lambda: RedisStore(url, prefix=prefix), lambda: services.remove_redis_keys(prefix))


PLACES = [memory, folder, redis]


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def place(request: pytest.FixtureRequest) -> Place:
    opened: Place = request.param(request)
    return opened


@pytest.fixture
def store(place: Place) -> Iterator[BlobStore]:
    with closing(place.open()) as opened:
        yield opened


def name(text: str = "") -> str:
    return (text + secrets.token_hex(32))[:64]


def test_what_was_put_is_got(store: BlobStore) -> None:
    one, two = name(), name()
    store.put({one: b"1", two: b"2"})
    assert store.get([one, two]) == {one: b"1", two: b"2"}


def test_what_is_absent_is_left_out_and_missing(store: BlobStore) -> None:
    here, absent = name(), name()
    store.put({here: b"x"})
    assert store.get([here, absent]) == {here: b"x"}
    assert store.missing([here, absent]) == {absent}


def test_empty_collections_are_no_question(store: BlobStore) -> None:
    store.put({})
    store.discard([])
    assert store.get([]) == {}
    assert store.missing([]) == set()
    assert store.names(".sig") == []


def test_every_byte_survives(store: BlobStore) -> None:
    values = {name(): bytes(range(256)), name(): b"", name(): b"\0\r\n\xff" * 1000}
    store.put(values)
    assert store.get(list(values)) == values


def test_to_put_the_same_again_changes_nothing(store: BlobStore) -> None:
    one = name()
    store.put({one: b"x"})
    store.put({one: b"x"})
    assert store.get([one]) == {one: b"x"}


def test_a_named_entry_can_be_replaced(store: BlobStore) -> None:
    entry = f"{name()}.need"
    store.put({entry: b"old"})
    store.put({entry: b"new"})
    assert store.get([entry]) == {entry: b"new"}


def test_what_is_discarded_is_gone_and_discarding_it_again_is_no_error(store: BlobStore) -> None:
    one, two = name(), name()
    store.put({one: b"1", two: b"2"})
    store.discard([one])
    store.discard([one])
    assert store.missing([one, two]) == {one}


def test_named_entries_are_listed_by_their_suffix(store: BlobStore) -> None:
    snapshot = name()
    entries = [f"{snapshot}.{key}.sig" for key in ("0011", "ffee")]
    store.put({**dict.fromkeys(entries, b"s"), snapshot: b"m", f"{snapshot}.revoked": b"r"})
    assert store.names(".sig") == sorted(entries)
    assert store.names(".revoked") == [f"{snapshot}.revoked"]
    assert store.names(".need") == []


def test_a_suffix_is_text_and_no_pattern(store: BlobStore) -> None:
    store.put({f"{name()}.sig": b"s"})
    assert store.names("*") == []
    assert store.names("[g]") == []


def test_five_thousand_names_are_one_question(store: BlobStore) -> None:
    blobs = {name(f"{number:05d}"): str(number).encode() for number in range(5000)}
    store.put(blobs)
    absent = name("99999")
    assert store.missing([*blobs, absent]) == {absent}
    assert store.get([*blobs, absent]) == blobs
    store.discard(list(blobs))
    assert store.missing(list(blobs)) == set(blobs)


def test_a_blob_of_twenty_megabytes_goes_through_with_small_ones_around_it(store: BlobStore) -> None:
    big = os.urandom(20 * 2**20)
    blobs = {name("a"): b"before", name("b"): big, name("c"): b"after"}
    store.put(blobs)
    assert store.get(list(blobs)) == blobs


def test_two_clients_at_once_see_each_others_blobs_whole(place: Place) -> None:
    shared = {name(): os.urandom(20_000) for _ in range(10)}
    own = [{name(): os.urandom(500) for _ in range(40)} for _ in range(2)]

    def work(mine: dict[str, bytes]) -> None:
        with closing(place.open()) as client:
            for one, value in mine.items():
                client.put({one: value})
                client.put(shared)
                assert client.get(list(shared)) == shared

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, own, timeout=60))
    with closing(place.open()) as client:
        assert client.missing([*own[0], *own[1], *shared]) == set()


def test_one_client_serves_many_threads(store: BlobStore) -> None:
    def work(number: int) -> None:
        for turn in range(20):
            one = name(f"{number}")
            store.put({one: f"{number} {turn}".encode()})
            assert store.get([one]) == {one: f"{number} {turn}".encode()}

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8), timeout=60))


def test_a_store_that_is_wiped_in_the_middle_says_what_is_missing_and_takes_it_again(place: Place) -> None:
    blobs = {name(): b"x", name(): b"y"}
    with closing(place.open()) as store:
        store.put(blobs)
        place.wipe()
        assert store.missing(list(blobs)) == set(blobs)
        assert store.get(list(blobs)) == {}
        store.put(blobs)
        assert store.get(list(blobs)) == blobs


def test_the_address_shows_no_password(store: BlobStore) -> None:
    assert "://" in store.url
    assert "secret" not in store.url


def down(kind: str, tmp_path: Path) -> BlobStore:
    if kind == "memory":
        store = MemoryStore()
        store.is_down = True
        return store
    if kind == "folder":
        (tmp_path / "file").write_text("in the way")
        return FolderStore(tmp_path / "file" / "blobs")
    return RedisStore("redis://:topsecret@127.0.0.1:1/0")


@pytest.mark.parametrize("kind", ["memory", "folder", "redis"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.put({name(): b"x"}),
        lambda store: store.get([name()]),
        lambda store: store.missing([name()]),
        lambda store: store.names(".sig"),
        lambda store: store.discard([name()]),
    ],
    ids=["put", "get", "missing", "names", "discard"],
)
def test_a_store_that_is_down_is_a_typed_error_without_the_password(
    kind: str, ask: Callable[[BlobStore], object], tmp_path: Path
) -> None:
    with closing(down(kind, tmp_path)) as store, pytest.raises(StoreUnavailable) as raised:
        ask(store)
    assert store.url in raised.value.message
    assert "topsecret" not in raised.value.message
