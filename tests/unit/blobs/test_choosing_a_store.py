"""Which store an app uses, in which order."""

from __future__ import annotations

import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from autocelery._blobs import open_store, store_url_for
from autocelery._blobs.folder import FolderStore
from autocelery.errors import StoreNotConfigured

AMQP = "amqp://guest:secret@host//"


def app(broker: str, backend: str | None = None, **settings: Any) -> Celery:
    made = Celery("choosing", broker=broker, backend=backend, set_as_current=False)
    made.conf.update(settings)
    return made


def test_the_variable_goes_before_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCELERY_STORE", "file:///blobs")
    assert store_url_for(app("redis://h/0", autocelery_store="redis://other/0")) == "file:///blobs"


def test_the_apps_own_setting_goes_before_its_broker() -> None:
    assert store_url_for(app("redis://h/0", autocelery_store="redis://other/0")) == "redis://other/0"


@pytest.mark.parametrize(
    "url",
    ["redis://:p@h:6379/1", "rediss://h/0?ssl_cert_reqs=required", "redis+socket:///s?virtual_host=2"],
)
def test_a_redis_broker_holds_the_blobs_too(url: str) -> None:
    assert store_url_for(app(url)) == url


@pytest.mark.parametrize(
    ("broker", "asked", "url"),
    [
        ("redis://:p@h:1/2", {"ssl_cert_reqs": ssl.CERT_NONE}, "rediss://:p@h:1/2?ssl_cert_reqs=CERT_NONE"),
        ("rediss://h/0", {"ssl_cert_reqs": "required"}, "rediss://h/0?ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=none", {"ssl_ca_certs": "/ca.pem"},
         "rediss://h/0?ssl_cert_reqs=none&ssl_ca_certs=%2Fca.pem"),
        ("valkey://h/0", True, "valkeys://h/0"),
        ("redis://h/0", False, "redis://h/0"),
        ("redis+socket:///s", True, "redis+socket:///s"),
    ],
)  # fmt: skip
def test_what_the_app_says_of_tls_holds_for_its_store(broker: str, asked: object, url: str) -> None:
    assert store_url_for(app(broker, broker_use_ssl=asked)) == url
    assert store_url_for(app(AMQP, broker, redis_backend_use_ssl=asked)) == url


def test_of_several_brokers_the_first_holds_them() -> None:
    assert store_url_for(app("redis://one/0;redis://two/0")) == "redis://one/0"


def test_a_redis_backend_helps_out_a_broker_that_cannot() -> None:
    assert store_url_for(app(AMQP, "redis://h/3")) == "redis://h/3"


def test_the_apps_key_prefix_is_the_stores_too() -> None:
    broker = app("redis+socket:///s?virtual_host=2", broker_transport_options={"global_keyprefix": "me:"})
    assert store_url_for(broker) == "redis+socket:///s?virtual_host=2&autocelery_prefix=me%3Aautocelery%3A"
    backend = app(AMQP, "redis://h/3", result_backend_transport_options={"global_keyprefix": "me:"})
    assert store_url_for(backend) == "redis://h/3?autocelery_prefix=me%3Aautocelery%3A"


def test_a_prefixed_address_opens_a_store_with_that_prefix(redis_url: str, redis_prefix: str) -> None:
    made = app(redis_url, broker_transport_options={"global_keyprefix": redis_prefix})
    one, other = open_store(store_url_for(made)), open_store(redis_url)
    one.put({"f" * 64: b"x"})
    assert one.missing(["f" * 64]) == set()
    assert other.missing(["f" * 64]) == {"f" * 64}
    one.close()
    other.close()


def test_beside_a_filesystem_broker_there_is_room(tmp_path: Path) -> None:
    made = app("filesystem://", broker_transport_options={"data_folder_out": str(tmp_path / "out")})
    store = open_store(store_url_for(made))
    assert isinstance(store, FolderStore)
    assert store.url == (tmp_path / "autocelery-blobs").as_uri()


@pytest.mark.parametrize(
    "backend", ["db+postgresql+psycopg://me:secret@h/results", "db+sqlite:////srv/results.sqlite"]
)
def test_a_database_of_results_holds_them_where_nothing_else_does(backend: str, tmp_path: Path) -> None:
    assert store_url_for(app(AMQP, backend)) == backend
    assert store_url_for(app("redis://h/0", backend)) == "redis://h/0"
    files = app("filesystem://", backend, broker_transport_options={"data_folder_out": str(tmp_path / "out")})
    assert store_url_for(files) == (tmp_path / "autocelery-blobs").as_uri()


@pytest.mark.parametrize(
    "backend", ["db+sqlite:///relative.sqlite", "db+mysql://h/results", "file:///results"]
)
def test_a_database_that_cannot_hold_them_or_is_another_for_each_process_is_not_taken(backend: str) -> None:
    with pytest.raises(StoreNotConfigured):
        store_url_for(app(AMQP, backend))


def test_a_database_is_opened_by_celerys_address_too(tmp_path: Path) -> None:
    with closing(open_store(f"db+sqlite:///{tmp_path}/results.sqlite")) as store:
        store.put({"e" * 64: b"x"})
    with closing(open_store(f"sqlite:///{tmp_path}/results.sqlite")) as store:
        assert store.get(["e" * 64]) == {"e" * 64: b"x"}


def test_without_a_place_the_error_says_what_to_set_and_no_password() -> None:
    with pytest.raises(StoreNotConfigured) as raised:
        store_url_for(app(AMQP, "rpc://"))
    assert "AUTOCELERY_STORE" in raised.value.message
    assert "secret" not in raised.value.message


def test_a_folder_is_opened_by_its_path_or_its_address(tmp_path: Path) -> None:
    for address in (str(tmp_path / "a b"), (tmp_path / "a b").as_uri()):
        store = open_store(address)
        store.put({"e" * 64: b"x"})
    assert (tmp_path / "a b" / "ee" / ("e" * 64)).read_bytes() == b"x"
