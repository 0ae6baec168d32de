"""Celery in a FastAPI app: settings from the environment, lifespan, results and their stream."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from celery import Celery, _state
from celery.result import AsyncResult
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from kombu import pools
from pydantic import BaseModel

from autocelery.errors import ArgumentNotSerializable, ConfigurationError
from autocelery.presets._streaming import events
from autocelery.presets.fastapi import celery_app, lifespan, result_of, tasks_router
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No broker is named by who runs the tests, and Celery's current app is as it was afterwards."""
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "REDIS_URL", "ENVIRONMENT", "DEBUG"):
        monkeypatch.delenv(name, raising=False)
    before = _state.default_app, _state.get_current_app()
    yield
    _state.set_default_app(before[0])
    _state._set_current_app(before[1])


@pytest.fixture
def celery() -> Celery:
    celery = celery_app("shop")

    @celery.task(name="price", bind=True, shared=False)
    def price(self: Any, cost: int) -> Any:
        if cost < 0:
            raise ValueError("too cheap")
        return {"cost": cost}

    return celery


@pytest.fixture
def client(celery: Celery) -> Iterator[TestClient]:
    app = FastAPI(lifespan=lifespan(celery))
    app.include_router(tasks_router(celery, interval=0.01, longest=0.2))
    with TestClient(app) as client:
        yield client


def events_of(text: str) -> list[Any]:
    return [json.loads(each[6:]) for each in text.splitlines() if each.startswith("data: ")]


def test_settings_come_from_the_environment_and_the_projects_own_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://shared")
    celery = celery_app(
        "shop", time_limit=600, settings={"task_ignore_result": True, "timezone": "Asia/Tokyo"}
    )
    assert (celery.conf.broker_url, celery.conf.task_time_limit) == ("redis://shared", 600)
    assert (celery.conf.task_ignore_result, celery.conf.timezone) == (True, "Asia/Tokyo")
    assert celery.conf.broker_transport_options["global_keyprefix"] == "shop:celery:"


def test_an_option_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="celery_app has no option"):
        celery_app("shop", limit=3)


def test_a_task_that_has_ended(client: TestClient, celery: Celery) -> None:
    result = celery.tasks["price"].delay(3)
    assert client.get(f"/tasks/{result.id}").json() == {
        "id": result.id,
        "state": "SUCCESS",
        "ready": True,
        "result": {"cost": 3},
        "error": None,
        "progress": None,
    }


def test_a_task_that_failed_tells_its_error_and_no_traceback(client: TestClient, celery: Celery) -> None:
    result = celery.tasks["price"].delay(-1)
    answer = client.get(f"/tasks/{result.id}")
    assert answer.json()["error"] == {"type": "ValueError", "message": "too cheap"}
    assert "Traceback" not in answer.text


def test_a_task_that_nobody_has_sent_is_pending_and_its_stream_ends(client: TestClient) -> None:
    assert client.get("/tasks/nobody").json()["state"] == "PENDING"
    assert [each["state"] for each in events_of(client.get("/tasks/nobody/events").text)] == ["PENDING"]


def test_the_stream_tells_each_change(celery: Celery) -> None:
    steps: list[tuple[str, Any]] = [
        ("PROGRESS", {"done": 1}),
        ("RETRY", ValueError("again")),
        ("PROGRESS", {"done": 2}),
        ("SUCCESS", {"cost": 3}),
    ]

    async def heard() -> list[Any]:
        stream = events(celery.AsyncResult("some"), 0.01, PATIENCE)
        told = [await anext(stream)]
        for state, value in steps:
            celery.backend.store_result("some", value, state)
            told.append(await anext(stream))
        return [*told, *[each async for each in stream]]

    seen = [event for text in asyncio.run(heard()) for event in events_of(text)]
    assert [each["state"] for each in seen] == ["PENDING", "PROGRESS", "RETRY", "PROGRESS", "SUCCESS"]
    assert [each["progress"] for each in seen] == [None, {"done": 1}, None, {"done": 2}, None]
    assert seen[2]["error"] == {"type": "ValueError", "message": "again"}


def test_a_result_that_json_cannot_carry_is_told_as_text(client: TestClient, celery: Celery) -> None:
    @celery.task(name="gives_a_set", shared=False)
    def gives_a_set() -> Any:
        return {1}

    result = gives_a_set.live.delay()
    assert client.get(f"/tasks/{result.id}").json()["result"] == "{1}"


@pytest.mark.parametrize("task_id", ["%20", "a" * 256, "a%0Ab", "%3Cscript%3E"])
def test_what_is_no_id_is_refused(client: TestClient, task_id: str) -> None:
    assert client.get(f"/tasks/{task_id}").status_code == 422


def test_who_may_ask_is_the_projects_business(celery: Celery) -> None:
    def check() -> None:
        raise HTTPException(403)

    app = FastAPI()
    app.include_router(tasks_router(celery, prefix="/jobs", dependencies=[Depends(check)]))
    with TestClient(app) as client:
        assert client.get("/jobs/some").status_code == 403
        assert client.get("/jobs/some/events").status_code == 403


def test_results_are_a_dependency(celery: Celery) -> None:
    app = FastAPI()
    depends = Depends(result_of(celery))

    @app.get("/reports/{task_id}")
    def report(result: AsyncResult = depends) -> Any:
        return result.get()

    with TestClient(app) as client:
        assert client.get(f"/reports/{celery.tasks['price'].delay(3).id}").json() == {"cost": 3}


def test_the_lifespan_keeps_the_projects_own_and_closes_connections(celery: Celery) -> None:
    @asynccontextmanager
    async def inner(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"oven": "hot"}

    before = len(pools.connections)
    for _ in range(2):
        with TestClient(FastAPI(lifespan=lifespan(celery, inner))) as client:
            assert client.app_state == {"oven": "hot"}
            assert len(pools.connections) == before + 1
            assert celery.tasks["price"].delay(3).get() == {"cost": 3}
        assert len(pools.connections) == before


def test_a_broker_that_is_away_is_a_warning_at_start(caplog: pytest.LogCaptureFixture) -> None:
    celery = celery_app("shop", broker_url="redis://:secret@127.0.0.1:1/0")
    with caplog.at_level(logging.WARNING), TestClient(FastAPI(lifespan=lifespan(celery))):
        pass
    (message,) = [each.getMessage() for each in caplog.records if each.name == "autocelery.presets"]
    assert "127.0.0.1:1/0 cannot be reached" in message
    assert "tasks cannot be sent until it can" in message
    assert "secret" not in message


class Item(BaseModel):
    """What a request's body is."""

    name: str


@pytest.mark.parametrize("options", [{"broker_url": "memory://"}, {}])
def test_a_model_of_a_request_is_no_argument_and_its_fields_are(options: dict[str, str]) -> None:
    app = celery_app("shop", **options)

    @app.task(name="store", shared=False)
    def store(items: Any) -> Any:
        return items

    with pytest.raises(ArgumentNotSerializable, match=r"items\[0\] is an Item.*model_dump\(mode=\"json\"\)"):
        store.delay([Item(name="tea")])
    sent = store.delay([Item(name="tea").model_dump(mode="json")])
    assert options or sent.get() == [{"name": "tea"}]
