"""Fixtures that every tier of tests shares; CONTRIBUTING.md lists them."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from kombu.exceptions import OperationalError

from tests import leftovers, services, since

# A busy machine makes any example slow: speed is the benchmarks' business.
settings.register_profile("autocelery", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("autocelery")

_SETTINGS_OF_THE_DESK = [name for name in os.environ if name.startswith("AUTOCELERY_")]


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests off the keys, caches and settings of whoever runs them."""
    for name in _SETTINGS_OF_THE_DESK:
        os.environ.pop(name, None)
    home = Path(tempfile.mkdtemp(prefix="ac-"))
    atexit.register(_remove_home, home)
    os.environ["AUTOCELERY_HOME"] = str(home)
    leftovers.mark_this_session()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when a process that a test started is still there, and end it."""
    alive = leftovers.left_behind()
    if not alive:
        return
    for process in alive:
        print(f"\nLEFT BEHIND {leftovers.describe(process)}")
        process.kill()
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _remove_home(home: Path) -> None:
    """Remove the session's home after what else is written at exit; a healer may have made a key in it meanwhile."""
    with contextlib.suppress(OSError):
        remove_tree(home)
    remove_tree(home)


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
    remove_tree(folder)


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
