"""What a worker says of its blob store."""

from __future__ import annotations

import pytest
from celery import Celery

from autocelery._celery.control import _store


@pytest.fixture
def app() -> Celery:
    return Celery("shop", broker="amqp://guest:secret@host//", set_as_current=False)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("/srv/blobs", "file:///srv/blobs"),
        ("redis://:secret@host:6379/3", "redis://:***@host:6379/3"),
    ],
)
def test_a_worker_tells_its_stores_address_without_the_password(
    app: Celery, monkeypatch: pytest.MonkeyPatch, named: str, told: str
) -> None:
    monkeypatch.setenv("AUTOCELERY_STORE", named)
    assert _store(app) == (told, "")


@pytest.mark.parametrize("named", ["", "ftp://host/blobs"])
def test_a_worker_without_a_store_tells_why(app: Celery, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("AUTOCELERY_STORE", named)
    store, problem = _store(app)
    assert store == ""
    assert "AUTOCELERY_STORE" in problem
    assert "secret" not in problem
