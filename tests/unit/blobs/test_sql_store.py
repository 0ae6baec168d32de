"""What is a SQL database's own about its blob store: lifetimes, a table that goes, a server that stops or is full."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

from autocelery._blobs import open_store, sql_database
from autocelery._blobs.sql import SqlStore
from autocelery.errors import ConfigurationError, StoreFull, StoreUnavailable

ONE, TWO = "a" * 64, "b" * 64


@contextmanager
def looking_at(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def changed(engine: Engine, statement: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def expiry(engine: Engine, name: str) -> int:
    with engine.connect() as connection:
        asked = text("SELECT expires FROM autocelery_blobs WHERE name = :name")
        return int(connection.execute(asked, {"name": name}).scalar_one())


@pytest.fixture(params=["postgres_database", "sqlite"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/blobs.sqlite"
    return str(request.getfixturevalue(request.param))


def test_to_ask_for_a_blob_renews_its_lifetime(address: str) -> None:
    with closing(SqlStore(address, ttl=5000)) as store, looking_at(address) as engine:
        store.put({ONE: b"x", TWO: b"y"})
        changed(engine, "UPDATE autocelery_blobs SET expires = :soon", soon=int(time.time()) + 100)
        assert store.missing([ONE]) == set()
        assert expiry(engine, ONE) > time.time() + 4000
        assert expiry(engine, TWO) <= time.time() + 100
        store.put({TWO: b"y"})
        assert expiry(engine, TWO) > time.time() + 4000


def test_what_nobody_asked_for_is_not_there_any_more_and_is_swept_by_who_comes_to_put(address: str) -> None:
    with closing(SqlStore(address)) as store, looking_at(address) as engine:
        store.put({ONE: b"x", f"{ONE}.sig": b"s"})
        changed(engine, "UPDATE autocelery_blobs SET expires = :past", past=int(time.time()) - 1)
        assert store.missing([ONE]) == {ONE}
        assert store.get([ONE]) == {}
        assert store.names(".sig") == []
        with closing(SqlStore(address)) as another:
            another.put({TWO: b"y"})
        with engine.connect() as connection:
            assert connection.execute(text("SELECT name FROM autocelery_blobs")).all() == [(TWO,)]


def test_a_question_makes_no_table(address: str) -> None:
    with closing(SqlStore(address)) as store, looking_at(address) as engine:
        assert store.missing([ONE]) == {ONE}
        store.discard([ONE])
        with engine.connect() as connection:
            assert not engine.dialect.has_table(connection, "autocelery_blobs")


def test_a_suffix_is_told_from_the_same_in_capitals(address: str) -> None:
    with closing(SqlStore(address)) as store:
        store.put({f"{ONE}.SIG": b"x"})
        assert store.names(".sig") == []


def test_clients_that_put_the_same_in_any_order_never_lock_each_other_out(postgres_database: str) -> None:
    blobs = {f"{number:064x}": b"x" * 100 for number in range(300)}
    failures = []

    def work(order: list[str]) -> None:
        with closing(SqlStore(postgres_database)) as store:
            for turn in range(10):
                try:
                    store.put({name: b"%d" % turn + blobs[name] for name in order})
                    store.discard(order[:150])
                except StoreUnavailable as error:
                    failures.append(error)

    orders = [list(blobs), list(reversed(blobs)), sorted(blobs, key=lambda name: name[::-1])]
    threads = [threading.Thread(target=work, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_a_pooled_connection_that_the_server_closed_is_no_error(postgres_database: str) -> None:
    with closing(SqlStore(postgres_database)) as store, looking_at(postgres_database) as engine:
        store.put({ONE: b"here"})
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        changed(engine, f"{others} AND pid <> pg_backend_pid()")
        assert store.get([ONE]) == {ONE: b"here"}


def test_a_server_that_is_full_is_a_typed_error(postgres_database: str) -> None:
    with closing(SqlStore(postgres_database)) as store, looking_at(postgres_database) as engine:
        store.put({ONE: b"here"})
        body = "BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END"
        changed(engine, f"CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
        changed(
            engine,
            "CREATE TRIGGER full_disk BEFORE INSERT ON autocelery_blobs EXECUTE FUNCTION full_disk()",
        )
        with pytest.raises(StoreFull, match="could not extend"):
            store.put({TWO: b"x"})
        assert store.get([ONE]) == {ONE: b"here"}


def test_a_file_that_is_full_is_a_typed_error(tmp_path: Path) -> None:
    def keep_small(connection: object, _: object) -> None:
        connection.execute("PRAGMA max_page_count = 40")  # type: ignore[attr-defined]

    event.listen(Engine, "connect", keep_small)
    try:
        with closing(open_store(f"sqlite:///{tmp_path}/blobs.sqlite")) as store:
            store.put({ONE: b"here"})
            with pytest.raises(StoreFull, match="full"):
                store.put({TWO: bytes(2**20)})
            assert store.get([ONE]) == {ONE: b"here"}
    finally:
        event.remove(Engine, "connect", keep_small)


class Line:
    """A port that leads to a server until it is cut off from it, silently. Owns its sockets and threads."""

    def __init__(self, host: str, port: int) -> None:
        self.flows = threading.Event()
        self.flows.set()
        self._there = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listener]
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.flows.set()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self._there)
            self._open += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while told := one.recv(65536):
                self.flows.wait(60)
                other.sendall(told)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return


def test_a_server_that_answers_no_more_costs_a_bounded_time(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_database, "SECONDS", 1.0)
    there = make_url(postgres_database)
    with closing(Line(there.host or "127.0.0.1", there.port or 5432)) as line:
        url = there.set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)
        with closing(open_store(url)) as store:
            store.put({ONE: b"here"})
            line.flows.clear()
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="within 1 seconds"):
                store.get([ONE])
            with pytest.raises(StoreUnavailable):  # a new connection, which has a limit of its own
                store.get([ONE])
            assert time.monotonic() - began < 10
            line.flows.set()
            assert store.get([ONE]) == {ONE: b"here"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:///relative.sqlite", "absolute"),
        ("sqlite://", "absolute"),
        ("mysql+pymysql://me:topsecret@host/db", "not in mysql"),
        ("postgresql+asyncpg://me:topsecret@host/db", "asyncio"),
        ("postgresql+nothing://me:topsecret@host/db", "nothing"),
        ("postgresql+pg8000://me:topsecret@host/db", "pip install pg8000"),
    ],
)
def test_an_address_that_makes_no_sense_says_why(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        open_store(url)
    assert "topsecret" not in raised.value.message
