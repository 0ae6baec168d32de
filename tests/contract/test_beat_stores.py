"""What every database with a schedule can do: write one, add it to `PLACES`, and this says whether it is one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlalchemy import create_engine, text

from autocelery._beat.definition import Definition, id_of, task_id_of
from autocelery._beat.sql_store import SqlBeatStore
from autocelery._beat.store import FAILED, RECORDED, SENT, BeatStore, Decision, Edits, Entry, Tick
from autocelery.errors import BeatDatabaseNotReady, BeatDatabaseUnavailable
from tests.waiting import wait_for

LEASE = 60.0


def postgresql(request: pytest.FixtureRequest) -> Callable[[], BeatStore]:
    url = request.getfixturevalue("postgres_database")
    return lambda: SqlBeatStore(url)


def mariadb(request: pytest.FixtureRequest) -> Callable[[], BeatStore]:
    url = request.getfixturevalue("mariadb_database")
    return lambda: SqlBeatStore(url)


def sqlite(request: pytest.FixtureRequest) -> Callable[[], BeatStore]:
    path = request.getfixturevalue("tmp_path") / "beat.sqlite"
    return lambda: SqlBeatStore(f"sqlite:///{path}")


PLACES = [postgresql, mariadb, sqlite]


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__)
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[[], BeatStore]]:
    """Opens a client of a database without tables; each is closed afterwards."""
    place = request.param(request)
    made: list[BeatStore] = []

    def another() -> BeatStore:
        made.append(place())
        return made[-1]

    yield another
    for each in made:
        each.close()


@pytest.fixture
def store(opened: Callable[[], BeatStore]) -> BeatStore:
    made = opened()
    made.prepare()
    return made


def entry(key: str, store: BeatStore, due_in: float | None = -1.0) -> Entry:
    definition = Definition("proj.add", {"kind": "interval", "seconds": 60.0}, args=("é", 1)).encode()
    now, _ = store.lease()
    tick = None if due_in is None else now + timedelta(seconds=due_in)
    return Entry(id_of(key), key, definition, "settings", settings=definition, next_tick=tick, next_fire=tick)


def put(store: BeatStore, *entries: Entry) -> None:
    store.edit([each.id for each in entries], lambda _found, _now: Edits(entries))


def holder(store: BeatStore, name: str = "me") -> int:
    token = store.take(store.lease()[1], name, LEASE)
    assert token is not None
    return token


def advance(entry: Entry, _now: datetime) -> Decision:
    """Send the tick that is due; the next one is an hour later."""
    assert entry.next_tick is not None
    tick = Tick(
        entry.id, entry.key, entry.next_tick, task_id_of(entry.id, entry.next_tick), RECORDED, 0, "the call"
    )
    following = entry.next_tick + timedelta(hours=1)
    return Decision(
        replace(entry, next_tick=following, next_fire=following, last_tick=tick.tick, runs=entry.runs + 1),
        (tick,),
    )


def test_without_tables_it_says_which_command_makes_them(opened: Callable[[], BeatStore]) -> None:
    for ask in (lambda s: s.lease(), lambda s: s.entries(), lambda s: s.due(1), lambda s: s.outbox()):
        with pytest.raises(BeatDatabaseNotReady, match="beat migrate"):
            ask(opened())


def test_many_that_prepare_it_at_once_all_succeed_and_one_holds_the_lease(
    opened: Callable[[], BeatStore],
) -> None:
    stores = [opened() for _ in range(8)]
    start = threading.Barrier(len(stores))

    def begin(number: int) -> int | None:
        start.wait()
        stores[number].prepare()
        return stores[number].take(stores[0].lease()[1], f"n{number}", LEASE) if number == 0 else None

    with ThreadPoolExecutor(len(stores)) as pool:
        first, *others = pool.map(begin, range(len(stores)))
    assert first is not None
    assert others == [None] * 7


def test_rows_go_to_postgresql_one_by_one_for_in_a_pipeline_no_limit_ends_a_frozen_transaction(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(SqlBeatStore(postgres_database.replace("+psycopg2", "+psycopg"))) as store:
        store.prepare()

        def pipeline(_connection: object) -> None:
            raise AssertionError("a pipeline")

        monkeypatch.setattr(psycopg.Connection, "pipeline", pipeline)
        put(store, *(entry(f"e{number}", store) for number in range(3)))
        token = holder(store)
        ticks = store.record(token, [id_of(f"e{number}") for number in range(3)], advance)
        assert ticks is not None
        store.settle([replace(each, state=SENT) for each in ticks])
        assert len(store.entries()) == 3
        assert store.outbox() == []


def test_tables_of_another_version_are_refused(store: BeatStore, opened: Callable[[], BeatStore]) -> None:
    assert isinstance(store, SqlBeatStore)
    with store._engine.get().begin() as connection:
        connection.execute(text("UPDATE autocelery_beat_lease SET version = 99"))
    with pytest.raises(BeatDatabaseNotReady, match="version 99"):
        opened().prepare()


def test_what_is_put_comes_back(store: BeatStore) -> None:
    made = replace(
        entry("a key", store), problem="p", runs=3, last_task_id="t", removed=True, anchor=store.lease()[0]
    )
    put(store, made)
    assert store.entry("a key") == made
    assert store.entry("another") is None
    assert store.entries() == [made]


def test_keys_that_differ_in_case_or_blanks_only_are_two_entries(store: BeatStore) -> None:
    keys = ["report", "Report", "report ", "réport"]
    put(store, *(entry(key, store) for key in keys))
    assert sorted(each.key for each in store.entries()) == sorted(keys)


def test_of_several_that_take_the_lease_as_they_saw_it_one_gets_it(opened: Callable[[], BeatStore]) -> None:
    stores = [opened() for _ in range(4)]
    stores[0].prepare()
    seen = stores[0].lease()[1]
    start = threading.Barrier(len(stores))

    def take(number: int) -> int | None:
        start.wait()
        return stores[number].take(seen, f"n{number}", LEASE)

    with ThreadPoolExecutor(len(stores)) as pool:
        tokens = list(pool.map(take, range(len(stores))))
    assert sorted(filter(None, tokens)) == [seen.token + 1]


def test_a_lease_is_renewed_and_released_by_its_holder_alone(store: BeatStore) -> None:
    first = holder(store)
    assert store.renew(first, LEASE)
    second = store.take(store.lease()[1], "other", LEASE)
    assert second == first + 1
    assert not store.renew(first, LEASE)
    store.release(first)
    assert store.lease()[1].holder == "other"
    store.release(second)
    assert store.lease()[1].holder is None
    assert not store.renew(second, LEASE)


def test_a_sign_of_life_after_it_was_seen_keeps_the_lease(store: BeatStore) -> None:
    token = holder(store)
    seen = store.lease()[1]
    assert store.renew(token, LEASE)
    assert store.take(seen, "other", LEASE) is None


def test_the_earliest_is_due_first_and_what_is_not_due_says_when(store: BeatStore) -> None:
    assert store.due(10).next_fire is None
    later = entry("later", store, 3600)
    put(store, later, entry("never", store, None))
    assert store.due(10).ids == ()
    assert store.due(10).next_fire == later.next_fire
    put(store, entry("a", store, -5), entry("b", store, -9), entry("c", store, -7))
    assert store.due(2).ids == (id_of("b"), id_of("c"))


def test_a_tick_is_recorded_with_its_entry_under_the_token(store: BeatStore) -> None:
    made = entry("a", store)
    put(store, made)
    token = holder(store)
    ticks = store.record(token, [made.id], advance)
    assert ticks is not None
    assert [(each.tick, each.token, each.state) for each in ticks] == [(made.next_tick, token, RECORDED)]
    assert store.outbox() == ticks
    after = store.entry("a")
    assert after is not None
    assert (after.runs, after.last_tick) == (1, made.next_tick)
    assert store.record(token, [made.id], advance) == []


def test_with_an_old_token_nothing_is_recorded(store: BeatStore) -> None:
    made = entry("a", store)
    put(store, made)
    old = holder(store)
    holder(store, "other")
    assert store.record(old, [made.id], advance) is None
    assert store.entry("a") == made
    assert store.outbox() == []


def test_what_fails_in_the_middle_has_recorded_nothing(store: BeatStore) -> None:
    put(store, entry("a", store, -2), entry("b", store, -1))

    def fail(each: Entry, now: datetime) -> Decision:
        if each.key == "b":
            raise RuntimeError("in the middle")
        return advance(each, now)

    with pytest.raises(RuntimeError):
        store.record(holder(store), [id_of("a"), id_of("b")], fail)
    assert store.outbox() == []
    assert [each.runs for each in store.entries()] == [0, 0]


def test_a_tick_that_is_there_already_is_not_recorded_again_and_the_others_are(store: BeatStore) -> None:
    first = entry("a", store)
    put(store, first)
    token = holder(store)
    assert store.record(token, [first.id], advance)
    put(store, first, entry("b", store))  # put back, as somebody may who edits the tables by hand
    ticks = store.record(token, [first.id, id_of("b")], advance)
    assert ticks is not None
    assert [each.key for each in ticks] == ["b"]


def test_many_holders_of_one_token_record_each_tick_once(opened: Callable[[], BeatStore]) -> None:
    stores = [opened() for _ in range(3)]
    stores[0].prepare()
    entries = [entry(f"e{number}", stores[0], -number - 1.0) for number in range(30)]
    put(stores[0], *entries)
    token = holder(stores[0])
    ids = [each.id for each in entries]

    def record(each: BeatStore) -> list[Tick]:
        for _ in range(20):
            try:
                return each.record(token, ids, advance) or []
            except (
                BeatDatabaseUnavailable
            ):  # a deadlock, or a lock that was waited for too long: nothing happened
                continue
        raise AssertionError("never recorded")

    with ThreadPoolExecutor(len(stores)) as pool:
        found = [tick for ticks in pool.map(record, stores) for tick in ticks]
    assert sorted(each.key for each in found) == sorted(each.key for each in entries)
    assert len(stores[0].outbox()) == len(entries)


def test_what_became_of_ticks_is_in_the_history_and_no_more_in_the_outbox(store: BeatStore) -> None:
    put(store, entry("a", store, -2), entry("b", store, -1))
    ticks = store.record(holder(store), [id_of("a"), id_of("b")], advance)
    assert ticks is not None
    store.settle([replace(ticks[0], state=SENT), replace(ticks[1], state=FAILED, error="why")])
    assert store.outbox() == []
    assert [(each.state, each.error, each.call) for each in store.history("b", 5)] == [(FAILED, "why", None)]
    store.prune(store.lease()[0] + timedelta(days=1))
    assert store.history("b", 5) == []


def test_pruning_keeps_what_is_not_sent(store: BeatStore) -> None:
    put(store, entry("a", store))
    store.record(holder(store), [id_of("a")], advance)
    store.prune(store.lease()[0] + timedelta(days=1))
    assert len(store.outbox()) == 1


def test_edits_by_several_at_once_are_one_after_the_other(opened: Callable[[], BeatStore]) -> None:
    stores = [opened() for _ in range(3)]
    stores[0].prepare()
    put(stores[0], entry("a", stores[0]))

    def count(found: object, _now: datetime) -> Edits:
        assert isinstance(found, dict)
        [each] = found.values()
        return Edits([replace(each, runs=each.runs + 1)])

    def edit(each: BeatStore) -> None:
        for _ in range(5):
            each.edit([id_of("a")], count)

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(edit, stores))
    after = stores[0].entry("a")
    assert after is not None
    assert after.runs == 15


def test_an_entry_is_removed_with_its_history(store: BeatStore) -> None:
    put(store, entry("a", store), entry("b", store))
    store.record(holder(store), [id_of("a"), id_of("b")], advance)
    store.edit([id_of("a")], lambda _found, _now: Edits(removed=[id_of("a")]))
    assert [each.key for each in store.entries()] == ["b"]
    assert store.history("a", 5) == []


def test_its_clock_goes_on_and_is_in_utc(store: BeatStore) -> None:
    before, _ = store.lease()
    after, _ = store.lease()
    assert before <= after
    assert abs((after - datetime.now(after.tzinfo)).total_seconds()) < 5
    assert after.utcoffset() == timedelta()


def test_a_database_that_is_not_there_is_an_error_that_names_it_without_the_password() -> None:
    with closing(SqlBeatStore("postgresql+psycopg://me:secret@127.0.0.1:1/none")) as store:
        with pytest.raises(BeatDatabaseUnavailable, match=r"me:\*\*\*@127\.0\.0\.1:1/none") as raised:
            store.prepare()
        assert "secret" not in raised.value.message


def test_a_user_who_may_not_make_tables_is_told_so(postgres_database: str) -> None:
    engine = create_engine(postgres_database)
    with engine.begin() as connection:
        connection.execute(text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        connection.execute(text("DROP ROLE IF EXISTS ac_reader"))
        connection.execute(text("CREATE ROLE ac_reader LOGIN"))
    try:
        url = engine.url.set(username="ac_reader").render_as_string(hide_password=False)
        with closing(SqlBeatStore(url)) as store, pytest.raises(BeatDatabaseNotReady, match="beat migrate"):
            store.prepare()
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP ROLE ac_reader"))
        engine.dispose()


def test_what_one_short_transaction_has_no_room_for_stays_due(store: BeatStore) -> None:
    entries = [entry(f"e{number}", store, -60.0) for number in range(8)]
    put(store, *entries)
    token, ids, recorded = holder(store), [each.id for each in entries], []

    def many(each: Entry, now: datetime) -> Decision:
        """Send four hundred ticks of each."""
        assert each.next_tick is not None
        moments = [each.next_tick + timedelta(milliseconds=number) for number in range(400)]
        ticks = tuple(
            Tick(each.id, each.key, moment, task_id_of(each.id, moment), RECORDED, 0, "the call")
            for moment in moments
        )
        return Decision(replace(each, next_tick=None, next_fire=None), ticks)

    while store.due(10).ids:
        ticks = store.record(token, ids, many)
        assert ticks is not None
        assert 0 < len(ticks) <= 1200
        recorded += [(each.entry, each.tick) for each in ticks]
    assert len(recorded) == len(set(recorded)) == 8 * 400


def test_entries_that_take_long_to_plan_do_not_hold_a_transaction_for_long(store: BeatStore) -> None:
    entries = [entry(f"e{number}", store, -60.0) for number in range(4)]
    put(store, *entries)
    token, ids = holder(store), [each.id for each in entries]

    def slow(each: Entry, now: datetime) -> Decision:
        moment = time.monotonic() + 0.7
        wait_for(lambda: time.monotonic() >= moment)
        return advance(each, now)

    first, second = (store.record(token, ids, slow) for _ in range(2))
    assert first is not None
    assert second is not None
    assert len(first) == len(second) == 2
