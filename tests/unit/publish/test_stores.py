"""Whether two addresses may be of one store, and how people read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autocelery._publish.stores import address, is_new_folder, likeness

PREFIXED = "redis://h/0?autocelery_prefix=me%3Aautocelery%3A"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://localhost", "redis://127.0.0.1:6379/0"),
        ("redis://", "valkey://:secret@[::1]:6379/"),
        ("redis://localhost/2", "redis://localhost?db=2"),
        ("redis+socket:///run/r.sock?virtual_host=2", "unix:///run/r.sock?db=2"),
        ("redis://me:***@h:6379/1", "rediss://me:secret@h/1"),
        ("file:///srv/blobs", "/srv/blobs/"),
        (PREFIXED, PREFIXED),
        ("postgresql+psycopg://me:secret@localhost/db", "db+postgresql://other:***@127.0.0.1:5432/db"),
        ("sqlite:////srv/blobs.sqlite", "db+sqlite:////srv/./blobs.sqlite"),
        ("s3://bucket/prefix", "s3://bucket/prefix/?region=eu-central-1"),
        ("fsspec+gs://bucket", "fsspec+gs://bucket"),
    ],
)
def test_one_store_may_be_written_in_several_ways(one: str, other: str) -> None:
    assert likeness(address(one), address(other), same_machine=True) == "same"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://h/0", "redis://h/1"),
        ("redis://h/0", PREFIXED),
        ("redis://h/0", "file:///srv/blobs"),
        ("/srv/blobs", "/srv/others"),
        ("sqlite:////srv/blobs.sqlite", "sqlite:////srv/others.sqlite"),
        ("postgresql://h/one", "postgresql://h/other"),
        ("s3://bucket/one", "s3://bucket/other"),
    ],
)
def test_another_kind_database_prefix_or_folder_is_another_store(one: str, other: str) -> None:
    assert likeness(address(one), address(other), same_machine=True) == "different"


@pytest.mark.parametrize(
    ("one", "other", "same_machine"),
    [
        ("redis://redis.lan/0", "redis://redis:6379/0", True),
        ("redis://h:6379", "redis://h:6380", True),
        ("redis://localhost:6379", "unix:///run/redis.sock", True),
        ("redis://localhost", "redis://localhost", False),
        ("/srv/blobs", "/srv/blobs", False),
        ("/srv/blobs", "/mnt/blobs", False),
        ("postgresql://db.lan/blobs", "postgresql://db/blobs", True),
        ("sqlite:////srv/blobs.sqlite", "sqlite:////srv/blobs.sqlite", False),
        ("s3://bucket", "s3://bucket?endpoint_url=http://minio:9000", True),
    ],
)
def test_another_name_may_be_the_same_store(one: str, other: str, same_machine: bool) -> None:
    assert likeness(address(one), address(other), same_machine) == "unclear"


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    os.symlink("blobs", tmp_path / "link")
    found = [address(f"{tmp_path}/{name}") for name in ("blobs", "link")]
    assert likeness(*found, same_machine=True) == "same"
    assert [is_new_folder(each) for each in (*found, address(f"{tmp_path}/typo"))] == [False, False, True]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@localhost", "Redis at localhost:6379, database 0"),
        ("postgresql+psycopg://me:secret@db/blobs", "PostgreSQL at db:5432, database blobs"),
        ("sqlite:////srv/blobs.sqlite", "the SQLite file /srv/blobs.sqlite"),
        ("s3://bucket/prefix", "the bucket s3://bucket/prefix"),
        ("fsspec+sftp://me:secret@host/srv", "fsspec+sftp://me:***@host/srv"),
        (PREFIXED, "Redis at h:6379, database 0, keys me:autocelery:*"),
        ("redis+socket:///run/r.sock", "Redis at /run/r.sock, database 0"),
        ("file:///srv/my%20blobs", "the folder /srv/my blobs"),
        ("memory://", "memory://"),
    ],
)
def test_people_read_what_a_store_is_and_no_password(url: str, shown: str) -> None:
    assert str(address(url)) == shown
