"""The tests' own tools: each lends what it says and takes it back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import kombu
import pytest
import redis
from sqlalchemy import create_engine, text

from autocelery._config import home
from tests import leftovers, services
from tests.conftest import remove_tree
from tests.stopwatch import Stopwatch
from tests.waiting import wait_for

#: How many bytes the path of a Unix socket may have (`sun_path` in Linux's unix(7), without the final zero).
LONGEST_SOCKET_PATH = 107


def test_keys_below_the_prefix_are_removed_and_no_others(redis_url: str, redis_prefix: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"{redis_prefix}mine", 1)
        client.set(f"x{redis_prefix}theirs", 1, ex=60)
        services.remove_redis_keys(redis_prefix)
        assert client.exists(f"{redis_prefix}mine") == 0
        assert client.delete(f"x{redis_prefix}theirs") == 1


def test_a_queue_of_the_test_s_own_works(rabbitmq_vhost: services.RabbitMQ) -> None:
    with (
        kombu.Connection(rabbitmq_vhost.url) as connection,
        connection.SimpleQueue(rabbitmq_vhost.queue) as queue,
    ):
        queue.put("hello")
        message = queue.get(timeout=10)
        message.ack()
        assert message.payload == "hello"


def test_a_database_of_the_test_s_own_is_dropped(postgres_url: str) -> None:
    assert postgres_url
    with services.own_postgres_database() as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            name = connection.execute(text("SELECT current_database()")).scalar_one()
        engine.dispose()
    with services.postgres_connection() as plain:
        rows: list[tuple[object, ...]] = plain.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [name]
        ).fetchall()
    assert rows == []


def test_the_home_is_the_test_s_own_and_short(autocelery_home: Path) -> None:
    assert home().worker.is_relative_to(autocelery_home)
    assert len(os.fsencode(autocelery_home)) < LONGEST_SOCKET_PATH / 2


def test_a_read_only_layout_can_be_removed(tmp_path: Path) -> None:
    folder = tmp_path / "layout" / "tree"
    folder.mkdir(parents=True)
    (folder / "file.py").touch(mode=0o444)
    folder.chmod(0o555)
    remove_tree(tmp_path / "layout")
    assert not (tmp_path / "layout").exists()


def test_a_missing_service_skips_at_a_desk_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise ConnectionRefusedError

    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="SOME_URL"):
        services.need("Something", "SOME_URL", refused, (OSError,))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="SOME_URL"):
        services.need("Something", "SOME_URL", refused, (OSError,))


def test_an_orphan_is_found_by_the_mark_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "_SECONDS_TO_END", 0.05)
    nap = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    parent = (
        "import subprocess, sys; "
        f"print(subprocess.Popen({nap!r}, stdin=0, stdout=-3, stderr=-3, start_new_session=True).pid)"
    )
    read_end, write_end = os.pipe()
    started = subprocess.run(
        [sys.executable, "-c", parent], stdin=read_end, capture_output=True, check=True, text=True
    )
    orphan = int(started.stdout)
    wait_for(
        lambda: orphan in [process.pid for process in leftovers.left_behind()],
        what="its environment is there",
    )
    os.close(write_end)
    os.close(read_end)
    wait_for(lambda: orphan not in [process.pid for process in leftovers.left_behind()])


def test_waiting_returns_the_first_true_value() -> None:
    values = iter([None, 0, "", "there"])
    assert wait_for(lambda: next(values)) == "there"


def test_waiting_in_vain_says_for_what() -> None:
    began = time.monotonic()
    with pytest.raises(AssertionError, match="the moon"):
        wait_for(lambda: False, deadline=0.05, what="the moon")
    assert time.monotonic() - began < 5


def test_a_stopwatch_counts_no_more_seconds_than_the_clock() -> None:
    began = time.monotonic()
    with Stopwatch() as watch:
        wait_for(lambda: time.monotonic() - began > 0.3)
    assert watch.slowdown >= 1
    assert 0 < watch.seconds <= time.monotonic() - began
