"""What is their own about stores of objects, in S3 and by fsspec: ages, sweeps, places that do not answer."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from autocelery._blobs import filesystems, open_store, s3
from autocelery._blobs.at_once import each_at_once
from autocelery._blobs.filesystems import Filesystem
from autocelery._blobs.objects import ObjectStore
from autocelery._blobs.s3 import Bucket
from autocelery.errors import ConfigurationError, StoreFull, StoreUnavailable
from tests.limits import files_of_at_most
from tests.waiting import wait_for

ONE, TWO = "a" * 64, "b" * 64
DAY = 24 * 3600


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


def in_files(place: Path, **options: int) -> ObjectStore:
    return ObjectStore(Filesystem(f"fsspec+{place.as_uri()}"), **options)


def make_old(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_to_ask_for_an_old_blob_renews_it_and_a_young_one_is_let_be(place: Path) -> None:
    store = in_files(place)
    store.put({ONE: b"x", TWO: b"y"})
    make_old(place / "blobs" / ONE, 3 * DAY)
    make_old(place / "blobs" / TWO, 3600)
    young = (place / "blobs" / TWO).stat()
    assert store.missing([ONE, TWO]) == set()
    assert time.time() - (place / "blobs" / ONE).stat().st_mtime < 60
    assert (place / "blobs" / TWO).stat() == young
    assert store.get([ONE]) == {ONE: b"x"}


def test_who_comes_to_put_sweeps_what_nobody_asked_for_if_nobody_else_has_of_late(place: Path) -> None:
    first = in_files(place)
    first.put({ONE: b"x", f"{ONE}.sig": b"s"})
    make_old(place / "blobs" / ONE, 8 * DAY)
    (place / "blobs" / ".new-0011").write_bytes(b"half")
    make_old(place / "blobs" / ".new-0011", 8 * DAY)
    in_files(place).put({TWO: b"y"})
    assert first.get([ONE]) == {ONE: b"x"}
    make_old(place / "swept", 2 * DAY)
    in_files(place).put({TWO: b"y"})
    assert sorted(each.name for each in place.rglob("*") if each.is_file()) == sorted(
        [TWO, f"{ONE}.sig", "swept"]
    )


def test_a_full_disk_is_a_typed_error_that_leaves_no_half_file(place: Path) -> None:
    store = in_files(place)
    store.put({ONE: b"x"})
    with files_of_at_most(1000), pytest.raises(StoreFull):
        store.put({TWO: b"x" * 5000})
    assert store.get([ONE, TWO]) == {ONE: b"x"}
    assert not (place / "blobs" / TWO).exists()


@pytest.mark.parametrize("name", ["../escape", "/etc/passwd", "a/b", "", ".hidden"])
def test_a_name_that_is_a_path_reaches_nothing(place: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        in_files(place).put({name: b"x"})


def test_an_object_in_s3_is_renewed_and_swept_like_any(s3_bucket: str) -> None:
    with (
        closing(ObjectStore(Bucket(f"s3://{s3_bucket}/p"), ttl=7)) as store,
        closing(boto3.client("s3")) as client,
    ):
        store.put({ONE: b"x"})
        put = client.head_object(Bucket=s3_bucket, Key=f"p/blobs/{ONE}")["LastModified"]
        old = put + datetime.timedelta(seconds=2)  # S3 counts in seconds
        wait_for(lambda: datetime.datetime.now(datetime.UTC) > old, 5, "a seventh of its lifetime is over")
        assert store.missing([ONE]) == set()
        assert client.head_object(Bucket=s3_bucket, Key=f"p/blobs/{ONE}")["LastModified"] > put
        assert store.get([ONE]) == {ONE: b"x"}
        assert store.sweep(-DAY) == 1
        assert store.missing([ONE]) == {ONE}


def test_a_bucket_that_is_not_there_is_a_typed_error(s3_bucket: str) -> None:
    with (
        closing(open_store("s3://nobody-has-made-this")) as store,
        pytest.raises(StoreUnavailable, match="bucket"),
    ):
        store.put({ONE: b"x"})


def test_a_place_without_credentials_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with (
        closing(open_store("s3://bucket")) as store,
        pytest.raises(StoreUnavailable, match="AWS_ACCESS_KEY_ID"),
    ):
        store.get([ONE])


@pytest.mark.parametrize("url", ["s3://", "s3://key:topsecret@bucket", "s3://bucket?secret_key=topsecret"])
def test_an_address_in_s3_that_makes_no_sense_says_what_does(url: str) -> None:
    with pytest.raises(ConfigurationError, match="s3://bucket/prefix") as raised:
        open_store(url)
    assert "topsecret" not in raised.value.message


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_an_endpoint_that_does_not_answer_costs_a_bounded_time(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "READ_TIMEOUT", 0.5)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    began = time.monotonic()
    with (
        closing(open_store(f"s3://bucket?endpoint_url=http://127.0.0.1:{silent}")) as store,
        pytest.raises(StoreUnavailable),
    ):
        store.get([ONE])
    assert time.monotonic() - began < 10


def test_a_target_that_does_not_answer_costs_a_bounded_time_each_time(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystems, "SECONDS", 0.5)
    began = time.monotonic()
    with closing(open_store(f"fsspec+ftp://me:topsecret@127.0.0.1:{silent}/x")) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="no answer"):
                store.get([ONE])
    assert time.monotonic() - began < 5


def test_a_folder_that_is_wiped_while_it_is_written_and_listed_loses_blobs_and_no_call(place: Path) -> None:
    done = threading.Event()

    def wipe() -> None:
        while not done.wait(0.002):
            shutil.rmtree(place, ignore_errors=True)

    wiping = threading.Thread(target=wipe)
    wiping.start()
    try:
        with closing(in_files(place)) as store:
            for number in range(200):
                store.put({f"{number:064x}": b"x", f"{number:064x}.need": b"y"})
                store.names(".need")
    finally:
        done.set()
        wiping.join()


@pytest.mark.parametrize(("url", "said"), [("fsspec+nothing://x", "not known"), ("fsspec+gs://x", "gcsfs")])
def test_a_target_that_fsspec_cannot_open_says_what_is_missing(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        open_store(url)


@pytest.mark.parametrize(
    ("package", "url", "extra"),
    [
        ("sqlalchemy", "postgresql+psycopg://host/db", "sql"),
        ("boto3", "s3://bucket", "s3"),
        ("fsspec", "fsspec+gs://bucket", "fsspec"),
    ],
)
def test_a_missing_package_is_an_error_that_names_the_extra(package: str, url: str, extra: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from autocelery._blobs import open_store\n"
        "from autocelery.errors import ConfigurationError\n"
        f"try: open_store({url!r})\n"
        f"except ConfigurationError as error: assert 'autocelery[{extra}]' in str(error); print('said so')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "said so\n"


def test_calls_run_at_once_and_the_first_error_is_raised() -> None:
    together = threading.Barrier(4)
    assert each_at_once(lambda _: together.wait(10) >= 0, range(4), threads=4) == [True] * 4
    with pytest.raises(ZeroDivisionError):
        each_at_once(lambda number: 1 // number, [1, 0], threads=2)
