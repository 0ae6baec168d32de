"""What every blob store can do: write one, add it to `PLACES`, and this says whether it is one."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import fsspec
import pytest

from autocelery._blobs import BlobStore, open_store
from autocelery._blobs.folder import FolderStore
from autocelery.errors import StoreUnavailable
from autocelery.testing import MemoryStore
from tests import services


@dataclass(frozen=True)
class Place:
    """One place where blobs rest: ``open`` gives a client of it, ``wipe`` empties it."""

    open: Callable[[], BlobStore]
    wipe: Callable[[], None]
    #: The address by which another process opens it; ``None`` where it is this process's own.
    address: str | None = None
    #: How many entries are many: a server for tests may be a slow one.
    many: int = 5000


def memory(_request: pytest.FixtureRequest) -> Place:
    store = MemoryStore()
    return Place(lambda: store, store.wipe)


def folder(request: pytest.FixtureRequest) -> Place:
    path: Path = request.getfixturevalue("tmp_path") / "blobs"
    return Place(lambda: FolderStore(path), lambda: shutil.rmtree(path, ignore_errors=True), str(path))


def redis(request: pytest.FixtureRequest) -> Place:
    url = request.getfixturevalue("redis_url")
    prefix = request.getfixturevalue("redis_prefix")
    address = f"{url}?autocelery_prefix={prefix}"
    return Place(lambda: open_store(address), lambda: services.remove_redis_keys(prefix), address)


def postgresql(request: pytest.FixtureRequest) -> Place:
    return sql_place(request.getfixturevalue("postgres_database"))


def sqlite(request: pytest.FixtureRequest) -> Place:
    return sql_place(f"sqlite:///{request.getfixturevalue('tmp_path')}/blobs.sqlite")


def sql_place(address: str) -> Place:
    return Place(
        lambda: open_store(address), lambda: services.drop_table(address, "autocelery_blobs"), address
    )


def s3(request: pytest.FixtureRequest) -> Place:
    bucket, endpoint = request.getfixturevalue("s3_bucket"), request.getfixturevalue("s3_endpoint")
    address = f"s3://{bucket}/a/prefix?endpoint_url={endpoint}"
    return Place(lambda: open_store(address), lambda: services.empty_bucket(endpoint, bucket), address, 500)


def fsspec_memory(_request: pytest.FixtureRequest) -> Place:
    address = f"fsspec+memory://{secrets.token_hex(6)}"
    return Place(lambda: open_store(address), fsspec.filesystem("memory").store.clear)


def fsspec_files(request: pytest.FixtureRequest) -> Place:
    path: Path = request.getfixturevalue("tmp_path") / "blobs"
    address = f"fsspec+{path.as_uri()}"
    return Place(lambda: open_store(address), lambda: shutil.rmtree(path, ignore_errors=True), address)


PLACES = [memory, folder, redis, postgresql, sqlite, s3, fsspec_memory, fsspec_files]


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


def test_thousands_of_names_are_one_question(place: Place, store: BlobStore) -> None:
    blobs = {name(f"{number:05d}"): str(number).encode() for number in range(place.many)}
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


def test_several_clients_at_once_see_each_others_blobs_whole(place: Place) -> None:
    shared = {name(): os.urandom(20_000) for _ in range(10)}
    own = [{name(): os.urandom(500) for _ in range(20)} for _ in range(4)]

    def work(mine: dict[str, bytes]) -> None:
        with closing(place.open()) as client:
            for one, value in mine.items():
                client.put({one: value})
                client.put(dict(random.sample(list(shared.items()), len(shared))))
                assert client.get(list(shared)) == shared

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, own, timeout=100))
    with closing(place.open()) as client:
        assert client.missing([*own[0], *own[1], *own[2], *own[3], *shared]) == set()


#: Puts entries that all have in common, and one of its own, into a store that has seen nobody yet.
CLIENT = """
import sys
from contextlib import ExitStack, closing, suppress
from autocelery._blobs import open_store

address, own = sys.argv[1:]
shared = {f"{number:064x}": bytes([number]) * 30_000 for number in range(20)}
print("ready", flush=True)
sys.stdin.readline()
with closing(open_store(address)) as store:
    for turn in range(5):
        store.put({own: own.encode(), "entry.need": own.encode(), **shared})
        assert store.missing([own, *shared]) == set()
        assert store.get(list(shared)) == shared
"""


def test_several_processes_at_once_begin_a_store_and_share_it(place: Place) -> None:
    if place.address is None:
        pytest.skip("it is this process's own")
    owns = [name() for _ in range(4)]
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, place.address, own], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for own in owns
    ]
    with ExitStack() as owned:
        for client in clients:
            owned.enter_context(client)
            owned.callback(client.kill)
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == b"ready\n"
        for client in clients:
            client.communicate(b"go\n", timeout=100)
        assert [client.returncode for client in clients] == [0] * len(clients)
    with closing(place.open()) as store:
        assert store.get(owns) == {own: own.encode() for own in owns}
        assert store.get(["entry.need"])["entry.need"].decode() in owns


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_client_serves_its_process_and_a_child_that_was_forked_from_it(place: Place) -> None:
    before, by_child = name(), name()
    with closing(place.open()) as store:
        store.put({before: b"x"})
        child = os.fork()
        if child == 0:
            done = 1
            with suppress(BaseException):
                store.put({by_child: store.get([before])[before]})
                done = 0
            os._exit(done)
        for _ in range(20):
            assert store.get([before]) == {before: b"x"}
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.missing([before]) == set()
        if place.address is not None:
            assert store.get([by_child]) == {by_child: b"x"}


def test_the_address_shows_no_password(store: BlobStore) -> None:
    assert "://" in store.url
    assert "secret" not in store.url


#: Where nobody listens.
DOWN = {
    "redis": "redis://:topsecret@127.0.0.1:1/0",
    "postgresql": "postgresql+psycopg://me:topsecret@127.0.0.1:1/blobs",
    "sqlite": "sqlite:////nowhere/blobs.sqlite",
    "fsspec": "fsspec+ftp://me:topsecret@127.0.0.1:1/blobs",
    "s3": "s3://bucket/prefix?endpoint_url=http://127.0.0.1:1",
}


def down(kind: str, tmp_path: Path) -> BlobStore:
    if kind == "memory":
        store = MemoryStore()
        store.is_down = True
        return store
    if kind == "folder":
        (tmp_path / "file").write_text("in the way")
        return FolderStore(tmp_path / "file" / "blobs")
    return open_store(DOWN[kind])


@pytest.mark.parametrize("kind", ["memory", "folder", *DOWN])
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
    kind: str, ask: Callable[[BlobStore], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "topsecret")
    with closing(down(kind, tmp_path)) as store, pytest.raises(StoreUnavailable) as raised:
        ask(store)
    assert store.url in raised.value.message
    assert "topsecret" not in raised.value.message
