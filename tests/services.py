"""The services that tests run against: where they are, and whether they answer."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import boto3
import kombu
import psycopg
import pymysql
import pytest
import redis
from psycopg import sql
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.waiting import wait_for

REDIS_URL = os.environ.get("REDIS_URL") or "redis://localhost:6379/0"
RABBITMQ_URL = os.environ.get("RABBITMQ_URL") or "amqp://guest:guest@localhost:5672//"
POSTGRES_URL = os.environ.get("POSTGRES_URL") or "postgresql+psycopg://postgres@127.0.0.1:5432/test"
MARIADB_URL = os.environ.get("MARIADB_URL") or "mysql+pymysql://root@127.0.0.1:3306/test"

_SECONDS_TO_ANSWER = 3


@dataclass(frozen=True, slots=True)
class RabbitMQ:
    """A broker for one test: ``url`` of its own vhost where one could be made, and a queue of its own.

    Use both: where no vhost can be made (no rabbitmqctl, a broker in a
    container) the queue's name is what keeps tests apart.
    """

    url: str
    queue: str


def need(name: str, variable: str, probe: Callable[[], object], errors: tuple[type[Exception], ...]) -> None:
    """Skip the test when a service does not answer; fail where ``CI=true`` says that it has to be there."""
    try:
        probe()
    except errors as error:
        lack(f"{name} does not answer ({type(error).__name__}); start it or set {variable}")


def lack(what: str) -> NoReturn:
    """Skip the test, for what is missing; fail where ``CI=true`` says that it has to be there."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def ping_redis() -> None:
    """Raise `redis.RedisError` when Redis does not answer."""
    with redis.Redis.from_url(REDIS_URL, socket_connect_timeout=_SECONDS_TO_ANSWER) as client:
        client.ping()


def ask_package_index(folder: Path) -> None:
    """Raise `subprocess.SubprocessError` when no package index answers, or it has no packages."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*command, "vine"], check=True, capture_output=True, timeout=60)


def ping_rabbitmq() -> None:
    """Raise `OSError` or an AMQP error when RabbitMQ does not answer."""
    with kombu.Connection(RABBITMQ_URL, connect_timeout=_SECONDS_TO_ANSWER) as connection:
        connection.connect()


def ping_postgres() -> None:
    """Raise `psycopg.Error` when PostgreSQL does not answer."""
    with postgres_connection():
        pass


def remove_redis_keys(prefix: str) -> None:
    """Remove every key that starts with ``prefix``, without blocking the server."""
    with redis.Redis.from_url(REDIS_URL) as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            client.unlink(key)


@contextmanager
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """Lend a vhost and a queue that are removed afterwards."""
    name = f"ac-{secrets.token_hex(6)}"
    if not _rabbitmqctl("add_vhost", name):
        yield RabbitMQ(RABBITMQ_URL, name)
        _delete_queue(name)
        return
    try:
        user = kombu.Connection(RABBITMQ_URL).userid or "guest"
        _rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        yield RabbitMQ(_with_vhost(RABBITMQ_URL, name), name)
    finally:
        _rabbitmqctl("delete_vhost", name)


def _rabbitmqctl(*arguments: str) -> bool:
    program = shutil.which("rabbitmqctl")
    local = kombu.Connection(RABBITMQ_URL).hostname in {"localhost", "127.0.0.1"}
    if program is None or not local:
        return False
    ended = subprocess.run([program, "-q", *arguments], check=False, capture_output=True, timeout=60)
    return ended.returncode == 0


def _with_vhost(url: str, vhost: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{rest.split('/', 1)[0]}/{vhost}"


def _delete_queue(name: str) -> None:
    with kombu.Connection(RABBITMQ_URL) as connection, connection.channel() as channel:
        channel.queue_delete(name)


@contextmanager
def own_postgres_database() -> Iterator[str]:
    """Lend the SQLAlchemy URL of a database that is dropped afterwards."""
    name = f"ac_{secrets.token_hex(6)}"
    with postgres_connection() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_url(POSTGRES_URL).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def ping_mariadb() -> None:
    """Raise `pymysql.Error` when MariaDB does not answer."""
    mariadb_connection().close()


@contextmanager
def own_mariadb_database() -> Iterator[str]:
    """Lend the SQLAlchemy URL of a database that is dropped afterwards."""
    name = f"ac_{secrets.token_hex(6)}"
    with mariadb_connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield make_url(MARIADB_URL).set(database=name).render_as_string(hide_password=False)
        finally:
            cursor.execute(f"DROP DATABASE {name}")


def mariadb_connection() -> pymysql.Connection:
    """Return a connection to the server of ``MARIADB_URL``."""
    url = make_url(MARIADB_URL)
    return pymysql.connect(
        host=url.host or "127.0.0.1",
        port=url.port or 3306,
        user=url.username or "root",
        password=url.password or "",
        autocommit=True,
        connect_timeout=_SECONDS_TO_ANSWER,
    )


def drop_table(url: str, name: str) -> None:
    """Drop a table of the database at ``url``, if it is there."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    engine.dispose()


def postgres_connection() -> psycopg.Connection[tuple[object, ...]]:
    """Return a connection to the database of ``POSTGRES_URL``, in autocommit mode."""
    url = make_url(POSTGRES_URL).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(url, autocommit=True, connect_timeout=_SECONDS_TO_ANSWER)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def own_s3_server() -> Iterator[str]:
    """Lend the address of a server that speaks S3: moto's, in a process of its own."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.s3_server", str(port)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: process.poll() is not None or _listens(port), what="the S3 server listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def aws_variables(endpoint: str) -> dict[str, str]:
    """Return the environment of who uses the server at ``endpoint``, and nobody's own profile."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def empty_bucket(endpoint: str, bucket: str) -> None:
    """Remove every object of a bucket, of which there may be many."""
    with closing(boto3.client("s3", endpoint_url=endpoint)) as client:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            objects = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if objects:
                client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
