"""Any number of beats on real databases and brokers: each tick once, whatever dies, freezes or jumps."""

from __future__ import annotations

import json
import secrets
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from sqlalchemy import create_engine, text

from autocelery._beat.sql_store import SqlBeatStore
from tests import beat_storms, beats, services
from tests.beat_storms import Storm, check_each_once
from tests.beats import Fleet
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

EVERY_SECOND = {"every": {**beats.ENTRY, "schedule": 1}}
#: Places where an instance is killed or frozen, in the order in which a tick passes them.
PLACES = ("inside the transaction", "after the commit", "before the broker", "after the broker")


@pytest.fixture
def on_redis(tmp_path: Path, postgres_database: str, redis_url: str, redis_prefix: str) -> Iterator[Fleet]:
    """Instances on PostgreSQL and Redis that send a tick each second."""
    broker = beats.on_redis(redis_url, redis_prefix)
    with beats.fleet(tmp_path, postgres_database, EVERY_SECOND, broker) as made:
        yield made


@pytest.fixture
def at_each_place(tmp_path: Path, postgres_url: str) -> Iterator[Callable[..., dict[str, Fleet]]]:
    """Makes a fleet for each of some places, with a database and a broker of its own: their waits pass side by side."""
    with ExitStack() as stack:

        def lend(places: tuple[str, ...], broker: Callable[[ExitStack], object]) -> dict[str, Fleet]:
            made = {}
            for place in places:
                folder = tmp_path / place.replace(" ", "-")
                folder.mkdir()
                database = stack.enter_context(services.own_postgres_database())
                made[place] = stack.enter_context(beats.fleet(folder, database, EVERY_SECOND, broker(stack)))
            return made

        yield lend


def own_redis(url: str) -> Callable[[ExitStack], object]:
    """Return what lends keys of their own on a Redis."""

    def lend(stack: ExitStack) -> object:
        prefix = f"ac-{secrets.token_hex(6)}:"
        stack.callback(services.remove_redis_keys, prefix)
        return beats.on_redis(url, prefix)

    return lend


def own_rabbitmq(stack: ExitStack) -> object:
    """Lend a vhost and a queue of its own."""
    own = stack.enter_context(services.own_rabbitmq())
    return beats.on_rabbitmq(own.url, own.queue)


def test_three_instances_send_each_tick_once_while_they_are_killed_frozen_and_cut_off(
    tmp_path: Path, postgres_database: str, redis_url: str, redis_prefix: str
) -> None:
    broker = beats.on_redis(redis_url, redis_prefix)
    with beats.fleet(tmp_path, postgres_database, beat_storms.ENTRIES, broker) as fleet:
        toll = Storm(fleet, 5, ["kill", "kill", "freeze", "cut", "hour", "back"]).run()
    assert toll.ticks[beat_storms.EVERY] > beat_storms.HOUR


def test_killed_anywhere_on_redis_each_tick_is_sent_once(
    at_each_place: Callable[..., dict[str, Fleet]], redis_url: str
) -> None:
    fleets = at_each_place(PLACES, own_redis(redis_url))
    harmed = [fleet.start(BEAT_HARM=f"{place}:SIGKILL") for place, fleet in fleets.items()]
    assert {each.process.wait() for each in harmed} == {-signal.SIGKILL}
    for fleet in fleets.values():
        fleet.start()
    for fleet in fleets.values():
        fleet.wait_until_settled()
        check_each_once(fleet.wait_for(4, "every"))


def test_frozen_anywhere_on_redis_and_woken_up_late_each_tick_is_sent_once(
    at_each_place: Callable[..., dict[str, Fleet]], redis_url: str
) -> None:
    fleets = at_each_place(PLACES, own_redis(redis_url))
    frozen = [fleet.start(BEAT_HARM=f"{place}:SIGSTOP") for place, fleet in fleets.items()]
    for each in frozen:
        wait_for(each.is_stopped, what="it is frozen")
    for fleet in fleets.values():
        fleet.start()
    for fleet in fleets.values():
        fleet.wait_until_settled()
        fleet.wait_for(3, "every")
    for each in frozen:
        each.send(signal.SIGCONT)
    for fleet in fleets.values():
        check_each_once(fleet.wait_for(len(fleet.sent("every")) + 3, "every"))
    assert [each.process.poll() for each in frozen] == [None] * len(frozen)


def test_killed_anywhere_on_rabbitmq_no_tick_is_lost_and_a_repeat_says_so(
    at_each_place: Callable[..., dict[str, Fleet]], rabbitmq_url: str
) -> None:
    assert rabbitmq_url
    fleets = at_each_place(PLACES, own_rabbitmq)
    harmed = [fleet.start(BEAT_HARM=f"{place}:SIGKILL") for place, fleet in fleets.items()]
    assert {each.process.wait() for each in harmed} == {-signal.SIGKILL}
    for fleet in fleets.values():
        fleet.start()
    for place, fleet in fleets.items():
        fleet.wait_until_settled()
        found = fleet.wait_for(4, "every")
        by_tick = Counter(each.tick for each in found)
        doubled = [tick for tick, count in by_tick.items() if count > 1]
        # Nobody else can know whether the broker took what its sender did not live to write down.
        assert [each.repeat for each in found].count(True) == (0 if place == "inside the transaction" else 1)
        assert len(doubled) == (1 if place == "after the broker" else 0), place
        for tick in doubled:
            assert sorted(each.repeat for each in found if each.tick == tick) == [False, True]
            assert len({each.id for each in found if each.tick == tick}) == 1
        moments = sorted(datetime.fromisoformat(tick) for tick in by_tick)
        assert {(after - before).total_seconds() for before, after in pairwise(moments)} == {1.0}


def test_frozen_before_it_sends_to_rabbitmq_an_instance_that_wakes_up_late_does_not(
    at_each_place: Callable[..., dict[str, Fleet]], rabbitmq_url: str
) -> None:
    assert rabbitmq_url
    [fleet] = at_each_place(("after the commit",), own_rabbitmq).values()
    first = fleet.start(BEAT_HARM="after the commit:SIGSTOP")
    wait_for(first.is_stopped, what="it is frozen")
    fleet.start()
    fleet.wait_until_settled()
    first.send(signal.SIGCONT)
    check_each_once(fleet.wait_for(len(fleet.sent("every")) + 3, "every"))


def test_an_instance_that_is_told_to_stop_lets_another_go_on_at_once(on_redis: Fleet) -> None:
    first = on_redis.start("autocelery", "-A", "ticking", "beat")
    on_redis.wait_for(2, "every")
    second = on_redis.start("autocelery", "-A", "ticking", "beat")
    wait_for(lambda: "Starting" in second.text(), what="the second has started")
    first.send(signal.SIGTERM)
    assert first.process.wait(timeout=60) == 0
    wait_for(lambda: "sends now" in second.text(), what="the second sends")
    check_each_once(on_redis.wait_for(len(on_redis.sent("every")) + 2, "every"))


def test_it_runs_inside_a_worker(on_redis: Fleet) -> None:
    words = (
        "celery",
        "-A",
        "ticking",
        "worker",
        "-B",
        "--scheduler",
        "ticking:Quick",
        "-P",
        "solo",
        "-Q",
        "none",
    )
    on_redis.start(*words, "-s", str(on_redis.folder / "schedule"))
    on_redis.wait_for(2, "every")
    check_each_once(on_redis.sent("every"))


def test_an_entry_that_is_broken_is_named_and_the_others_are_sent(on_redis: Fleet) -> None:
    broken = {
        "zone": {**beats.ENTRY, "schedule": 1, "timezone": "Europe/Madird"},
        "always": {**beats.ENTRY, "schedule": 0},
        "class": {**beats.ENTRY, "schedule": "raising"},
        "word": {**beats.ENTRY, "schedule": "often"},
        "rule": {**beats.ENTRY, "schedule": 1, "mised": "all"},
        "arguments": {**beats.ENTRY, "schedule": 1, "args": 5},
        "options": {**beats.ENTRY, "schedule": 1, "options": ["queue"]},
        "nothing": None,
        "unsendable": {"task": "unsendable", "schedule": 1},
        "unknown": {"task": "ad", "schedule": 1},
    }
    told = json.dumps({**EVERY_SECOND, **broken})
    instance = on_redis.start(BEAT_ENTRIES=told)
    on_redis.wait_for(3, "every")
    check_each_once(on_redis.sent("every"))
    for key, words in {
        "zone": "did you mean Europe/Madrid",
        "always": "due all the time",
        "class": "the moon is not made of cheese",
        "word": "its schedule is a str",
        "rule": "unknown mised",
        "arguments": "it cannot be read",
        "options": "it cannot be read",
        "nothing": "not a dict",
        "unsendable": "not today",
        "unknown": "Did you mean add?",
    }.items():
        wait_for(
            lambda key=key, words=words: any(
                f"'{key}'" in line and words in line for line in instance.text().splitlines()
            ),
            what=f"the log names {key}: {instance.text()}",
        )
    assert on_redis.sent("unknown")
    listed = on_redis.run("list", BEAT_ENTRIES=told).stdout
    assert "the moon is not made of cheese" in listed


def test_an_edit_is_seen_by_a_running_instance_and_stays_where_the_settings_are_as_they_were(
    on_redis: Fleet,
) -> None:
    slow = json.dumps({"slow": {**beats.ENTRY, "schedule": 3600}})
    on_redis.environment["BEAT_ENTRIES"] = slow
    first = on_redis.start()
    wait_for(lambda: "sends now" in first.text(), what="it sends")
    done = on_redis.run("set", "slow", "schedule=1", "args=[5,6]")
    assert done.returncode == 0, done.stderr
    [message, *_] = on_redis.wait_for(1, "slow")
    assert message.arguments == [5, 6]
    first.send(signal.SIGTERM)
    first.process.wait(timeout=60)
    second = on_redis.start()
    on_redis.wait_for(len(on_redis.sent("slow")) + 2, "slow")
    assert on_redis.run("diff").stdout.startswith("slow: edited in the database")
    assert on_redis.run("sync", "--take", "settings", "slow").stdout == "slow\n"
    assert on_redis.run("diff").stdout == ""
    assert '"seconds": 3600' in on_redis.run("show", "slow").stdout
    assert second.process.poll() is None


def test_without_a_database_or_with_a_wrong_one_it_says_so_at_start(on_redis: Fleet) -> None:
    for url, words in {
        "": "beat_database_url",
        "nonsense": "is wrong",
        "sqlite:///relative.db": "absolute path",
        "postgresql+asyncpg://me@host/db": "asyncpg",
    }.items():
        done = on_redis.run(BEAT_DATABASE=url)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_a_database_that_comes_late_is_waited_for(on_redis: Fleet, postgres_database: str) -> None:
    missing = postgres_database + "_later"
    instance = on_redis.start(BEAT_DATABASE=missing)
    wait_for(lambda: "cannot be used" in instance.text(), what="it says that there is no database")
    engine = create_engine(postgres_database, isolation_level="AUTOCOMMIT")
    name = missing.rpartition("/")[2]
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        try:
            on_redis.wait_for(2, "every")
        finally:
            instance.end()
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def test_what_was_sent_is_written_down_and_no_proof_stays_at_the_broker(
    on_redis: Fleet, postgres_database: str, redis_url: str, redis_prefix: str
) -> None:
    instance = on_redis.start("autocelery", "-A", "ticking", "beat")
    on_redis.wait_for(3, "every")
    instance.send(signal.SIGTERM)
    instance.process.wait(timeout=60)
    store = SqlBeatStore(postgres_database)
    found = {each.task_id: each.state for each in store.history("every", 100)}
    store.close()
    assert found == {each.id: "sent" for each in on_redis.sent("every")}
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(match=f"{redis_prefix}*beat*", count=1000)) == []


def test_a_database_that_is_emptied_under_a_running_instance_gets_its_settings_back(
    on_redis: Fleet, postgres_database: str
) -> None:
    instance = on_redis.start()
    on_redis.wait_for(2, "every")
    store = SqlBeatStore(postgres_database)
    before = store.lease()[1].token
    engine = create_engine(postgres_database)
    with engine.begin() as connection:
        connection.execute(
            text("TRUNCATE autocelery_beat_entries, autocelery_beat_ticks, autocelery_beat_lease")
        )
    engine.dispose()
    on_redis.wait_for(len(on_redis.sent("every")) + 3, "every")
    assert instance.process.poll() is None
    assert store.lease()[1].token > before, "who was frozen with the old token never holds the lease again"
    store.close()
