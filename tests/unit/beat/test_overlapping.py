"""A tick is left out while the last run is going, as its result tells; and settings as Django has them are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery

from autocelery._beat import overlapping
from autocelery._beat.definition import Definition, id_of, task_id_of
from autocelery._beat.from_settings import read
from autocelery._beat.opening import open_store
from autocelery._beat.overlapping import is_still_going, lacks_results
from autocelery._beat.sender import call_of
from autocelery._beat.sql_store import SqlBeatStore
from autocelery._beat.store import RECORDED, SENT, Decision, Edits, Entry, Tick

HOURLY = Definition("proj.add", {"kind": "interval", "seconds": 3600.0}, overlap=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlBeatStore]:
    made = SqlBeatStore(f"sqlite:///{tmp_path}/beat.sqlite")
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    made = Celery("proj", broker="memory://", backend=f"file://{tmp_path}", set_as_current=False)
    made.conf.result_expires = 7200
    yield made
    made.close()


def ticks(store: SqlBeatStore, definition: Definition, hours: tuple[int, ...]) -> list[Tick]:
    """Record ticks of one entry, so many hours apart; the first is sent."""
    now, lease = store.lease()
    entry = Entry(id_of("a"), "a", definition.encode(), "settings", next_tick=now, next_fire=now)
    store.edit([entry.id], lambda _found, _now: Edits([entry]))
    token = store.take(lease, "me", 60)
    assert token is not None
    moments = [now + timedelta(hours=each) for each in hours]
    call = call_of(definition)
    made = tuple(Tick(entry.id, "a", each, task_id_of(entry.id, each), RECORDED, 0, call) for each in moments)
    found = store.record(token, [entry.id], lambda each, _now: Decision(replace(each, next_fire=None), made))
    assert found is not None
    store.settle([replace(found[0], state=SENT)])
    return found


def test_a_tick_waits_for_the_last_run_until_that_has_a_result(app: Celery, store: SqlBeatStore) -> None:
    first, second, third = ticks(store, HOURLY, (0, 1, 3))
    assert not is_still_going(app, store, first)
    assert is_still_going(app, store, second)
    assert not is_still_going(app, store, third)  # results are kept for two hours: nobody would know
    app.backend.mark_as_started(first.task_id)
    assert is_still_going(app, store, second)
    app.backend.mark_as_failure(first.task_id, RuntimeError("it ended"))
    assert not is_still_going(app, store, second)


def test_an_entry_that_may_overlap_waits_for_nothing(app: Celery, store: SqlBeatStore) -> None:
    _, second = ticks(store, replace(HOURLY, overlap=True), (0, 1))
    assert not is_still_going(app, store, second)


def test_results_that_cannot_be_asked_for_stop_nothing_and_are_asked_for_anew(
    app: Celery, store: SqlBeatStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = ticks(store, HOURLY, (0, 1))
    app.backend.mark_as_failure(first.task_id, RuntimeError("it ended"))
    closed: list[str] = []
    monkeypatch.setattr(overlapping, "_afterwards", [lambda: closed.append("a connection")])
    # Settings that other tests bring in may have silenced it: Django's disable loggers, a worker's raise the level.
    monkeypatch.setattr(overlapping.logger, "disabled", False)
    caplog.set_level("WARNING", overlapping.logger.name)
    with monkeypatch.context() as broken:
        broken.setattr(app.backend, "path", b"/nowhere")
        broken.setattr(app.backend, "open", lambda *_: 1 / 0)
        assert is_still_going(app, store, second)
    assert closed == ["a connection"]
    assert "entry 'a'" in caplog.text
    assert not is_still_going(app, store, second)


def test_whether_there_are_results_is_known(app: Celery) -> None:
    assert not lacks_results(app, "proj.add")
    app.conf.task_ignore_result = True
    assert lacks_results(app, "proj.add")
    assert lacks_results(Celery("none", broker="memory://", set_as_current=False), "proj.add")


def test_settings_in_a_namespace_as_django_has_them_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Celery("proj", set_as_current=False)
    url = f"sqlite:///{tmp_path}/django.sqlite"
    schedule = {"a": {"task": "proj.add", "schedule": 5, "missed": "all"}}
    told = {"CELERY_BEAT_DATABASE_URL": url, "CELERY_BEAT_SYNC": "newest", "CELERY_BEAT_SCHEDULE": schedule}
    app.config_from_object(SimpleNamespace(**told), namespace="CELERY")
    assert open_store(app).url == url
    assert app.conf.get("beat_sync") == "newest"
    assert read(app).definitions["a"].missed == "all"
    monkeypatch.setenv("CELERY_BEAT_DATABASE_URL", "sqlite:////elsewhere.sqlite")
    assert open_store(app).url == "sqlite:////elsewhere.sqlite"
