"""Fixtures that every tier of tests shares; CONTRIBUTING.md lists them."""

from __future__ import annotations

import atexit
import compileall
import contextlib
import gc
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pymysql
import pytest
import redis
from hypothesis import HealthCheck, settings
from kombu.exceptions import OperationalError

from tests import leftovers, services, since, waiting, workers

# A busy machine makes any example slow: speed is the benchmarks' business.
settings.register_profile("autocelery", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("autocelery")

#: The fleet that a test of the conformance suite runs on, in its id.
_FLEET = re.compile(r"(redis|rabbitmq)[+\w]*-(prefork|threads|solo|gevent)\b")
SOURCES = Path(__file__).parents[1] / "src"
#: What the tests started and left, in words.
_LEFT_BEHIND: list[str] = []
_SETTINGS_OF_THE_DESK = [name for name in os.environ if name.startswith("AUTOCELERY_")]


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests off the keys, caches and settings of whoever runs them."""
    for name in _SETTINGS_OF_THE_DESK:
        os.environ.pop(name, None)
    home = Path(tempfile.mkdtemp(prefix="ac-"))
    atexit.register(_remove_for_good, home)
    os.environ["AUTOCELERY_HOME"] = str(home)
    leftovers.mark_this_session()
    if not hasattr(
        config, "workerinput"
    ):  # for all processes that tests start, of which none may be allowed to
        compileall.compile_dir(SOURCES, quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what the workers logged: what only happens now and then leaves no other trace."""
    report = yield
    if report.failed:
        report.sections += [
            (f"log of the worker {name}", text) for name, text in workers.logs_since(call.start)
        ]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes run the tests (``-n``), give one fleet, or what the tests of a file share, to one."""
    from xdist.scheduler import LoadScopeScheduling

    class BySharing(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            fleet = _FLEET.search(nodeid)
            return fleet.group() if fleet else nodeid.partition("::")[0]

    return BySharing(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when a process that a test started is still there, and end it."""
    if not session.config.getoption(
        "numprocesses", None
    ):  # else the processes that run the tests have looked
        for process in leftovers.left_behind():
            _LEFT_BEHIND.append(leftovers.describe(process))
            process.kill()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_behind"] = _LEFT_BEHIND
    elif _LEFT_BEHIND:
        print("", *(f"LEFT BEHIND {each}" for each in _LEFT_BEHIND), sep="\n")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear of what was left behind from a process that ran some of the tests."""
    _LEFT_BEHIND.extend(getattr(node, "workeroutput", {}).get("left_behind", ()))


def _remove_for_good(home: Path) -> None:
    """Remove a home for which this process may have a healer: that makes a key where there is none."""

    def gone() -> bool:
        with contextlib.suppress(OSError):
            remove_tree(home)
        return not home.exists()

    waiting.wait_for(gone, what=f"{home} is removed")


def remove_tree(folder: Path) -> None:
    """Remove ``folder``, read-only layouts in it too."""

    def make_writable(function: Callable[[str], object], path: str, _: object) -> None:
        for each in (Path(path).parent, Path(path)):
            if each.exists() and not each.is_symlink():
                each.chmod(each.stat().st_mode | stat.S_IRWXU)
        if Path(path).exists() or Path(path).is_symlink():
            shutil.rmtree(path) if function in {os.open, os.scandir} else function(path)

    shutil.rmtree(folder, onerror=make_writable) if folder.exists() else None


@pytest.fixture(autouse=True)
def results_die_between_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where a result may not die at any time, see to it that those of a test with Redis do after it."""
    if since.RESULTS_MAY_DIE_AT_ANY_TIME or "redis_url" not in request.fixturenames:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@pytest.fixture(scope="session")
def redis_url() -> str:
    """The URL of a Redis that answers; use it with `redis_prefix`."""
    services.need("Redis", "REDIS_URL", services.ping_redis, (redis.RedisError, OSError))
    return services.REDIS_URL


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """The URL of a RabbitMQ that answers; prefer `rabbitmq_vhost`, which is the test's own."""
    services.need("RabbitMQ", "RABBITMQ_URL", services.ping_rabbitmq, (OperationalError, OSError))
    return services.RABBITMQ_URL


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The SQLAlchemy URL of a PostgreSQL that answers; prefer `postgres_database`."""
    services.need("PostgreSQL", "POSTGRES_URL", services.ping_postgres, (psycopg.Error,))
    return services.POSTGRES_URL


@pytest.fixture
def mariadb_database() -> Iterator[str]:
    """The SQLAlchemy URL of a database of the test's own, dropped afterwards."""
    services.need("MariaDB", "MARIADB_URL", services.ping_mariadb, (pymysql.Error, OSError))
    with services.own_mariadb_database() as url:
        yield url


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    """A prefix for every key that the test writes (``global_keyprefix``); they are removed afterwards."""
    assert redis_url
    prefix = f"ac-{secrets.token_hex(6)}:"
    yield prefix
    services.remove_redis_keys(prefix)


@pytest.fixture
def rabbitmq_vhost(rabbitmq_url: str) -> Iterator[services.RabbitMQ]:
    """A vhost (``.url``) and a queue name (``.queue``) of the test's own, removed afterwards."""
    assert rabbitmq_url
    with services.own_rabbitmq() as own:
        yield own


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The SQLAlchemy URL of a database of the test's own, dropped afterwards."""
    assert postgres_url
    with services.own_postgres_database() as url:
        yield url


@pytest.fixture
def autocelery_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty ``AUTOCELERY_HOME``, short enough for a Unix socket's path, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ac-"))
    monkeypatch.setenv("AUTOCELERY_HOME", str(folder))
    yield folder
    _remove_for_good(folder)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a server that speaks S3, of the session's own; use it with `s3_bucket`."""
    with services.own_s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a bucket of the test's own on `s3_endpoint`; the ``AWS_*`` variables lead there."""
    for name, value in services.aws_variables(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    name = f"ac-{secrets.token_hex(6)}"
    boto3.client("s3").create_bucket(Bucket=name)
    yield name
    services.empty_bucket(s3_endpoint, name)
