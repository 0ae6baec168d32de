"""What an app without a broker does that a worker does not: at once, in order, in the thread that calls."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery, chain, signals
from celery.exceptions import Ignore, Reject
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import allow_join_result
from kombu import pools

from autocelery import Autocelery
from autocelery._eager import application, make_eager, make_eager_without_broker
from autocelery.errors import (
    AutoceleryError,
    BrokerNotConfigured,
    EagerRunaway,
    ResultNeverComes,
    StoreNotConfigured,
    TaskNotInSnapshot,
)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    app = Celery("bakery", set_as_current=False)
    yield app
    if hasattr(app, "autocelery_eager"):
        app.autocelery_eager.stop()


@pytest.fixture
def ran(app: Celery) -> list[Any]:
    """What tasks have noted, in order; ``app.tasks["note"]`` notes its arguments."""
    noted: list[Any] = []
    make_eager(app, announce=False)

    @app.task(name="note")
    def note(*args: Any) -> Any:
        noted.append(args if len(args) > 1 else args[0])
        return args[0]

    return noted


def test_a_call_has_run_when_delay_returns(app: Celery, ran: list[Any]) -> None:
    result = app.tasks["note"].delay("bread")
    assert (ran, result.state, app.AsyncResult(result.id).get()) == (["bread"], "SUCCESS", "bread")


def test_it_is_found_by_its_id_from_another_thread(app: Celery, ran: list[Any]) -> None:
    result = app.tasks["note"].delay("bread")
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(app.AsyncResult(result.id).get()))
    thread.start()
    thread.join()
    assert found == ["bread"]


def test_threads_run_their_own_calls_side_by_side(app: Celery) -> None:
    make_eager(app, announce=False)
    both = threading.Barrier(2, timeout=60)

    @app.task(name="meets")
    def meets() -> str:
        both.wait()  # only together
        return threading.current_thread().name

    states: list[Any] = []
    threads = [
        threading.Thread(target=lambda: states.append(meets.delay().get()), name=f"thread {each}")
        for each in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(states) == ["thread 0", "thread 1"]


def test_what_a_task_sends_runs_in_the_order_of_its_countdowns_after_it(app: Celery, ran: list[Any]) -> None:
    note = app.tasks["note"]

    @app.task(name="later")
    def later() -> None:
        note.delay("at 10")
        note.apply_async(("at 15",), countdown=5)

    @app.task(name="sends")
    def sends() -> None:
        note.apply_async(("at 12",), countdown=12)
        later.apply_async(countdown=10)
        note.apply_async(("eta",), eta=datetime.now(UTC) + timedelta(seconds=3))
        note.delay("now")
        ran.append("sends ends")

    sends.delay()
    assert ran == ["sends ends", "now", "eta", "at 10", "at 12", "at 15"]


def test_a_call_whose_turn_comes_after_its_expiry_is_revoked(app: Celery, ran: list[Any]) -> None:
    assert app.tasks["note"].apply_async(("stale",), countdown=60, expires=30).state == "REVOKED"
    assert app.tasks["note"].apply_async(("fresh",), countdown=60, expires=90).state == "SUCCESS"
    assert ran == ["fresh"]


def test_retries_wait_for_nothing(app: Celery, ran: list[Any]) -> None:
    @app.task(name="rises", bind=True, max_retries=50, default_retry_delay=3600)
    def rises(self: Any) -> int:
        if self.request.retries < 50:
            raise self.retry()
        return int(self.request.retries)

    assert rises.delay().get() == 50


def test_a_task_that_may_wait_for_another_gets_its_result(app: Celery, ran: list[Any]) -> None:
    @app.task(name="waits")
    def waits() -> Any:
        with allow_join_result():
            return app.tasks["note"].delay("bread").get()

    assert waits.delay().get() == "bread"


def test_waiting_in_vain_is_an_error_at_once(app: Celery, ran: list[Any]) -> None:
    with pytest.raises(ResultNeverComes, match="never sent") as raised:
        app.AsyncResult("nobody").get()
    assert isinstance(raised.value, ResultTimeout)
    assert isinstance(raised.value, AutoceleryError)


def test_a_task_that_sends_itself_for_ever_is_stopped(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "MOST_STEPS", 50)
    make_eager(app, announce=False)

    @app.task(name="again", ignore_result=True)
    def again(number: int) -> None:
        again.apply_async((number + 1,), countdown=60)

    with pytest.raises(EagerRunaway, match="again is the 50th call"):
        again.delay(1)
    again.app.autocelery_eager.run_due()  # nothing is left of it


def test_many_calls_of_one_task_are_no_runaway(app: Celery, ran: list[Any]) -> None:
    @app.task(name="fans_out")
    def fans_out() -> None:
        for each in range(300):
            app.tasks["note"].delay(each)

    fans_out.delay()
    assert ran == list(range(300))


def test_a_task_may_put_its_call_back(app: Celery) -> None:
    make_eager(app, announce=False)
    tries: list[int] = []

    @app.task(name="put_back")
    def put_back() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Reject("later", requeue=True)
        raise Ignore

    put_back.delay()
    assert len(tries) == 3


def test_content_that_a_worker_would_refuse_fails(app: Celery, ran: list[Any]) -> None:
    result = app.tasks["note"].apply_async(({1},), serializer="pickle")
    assert (result.state, type(result.result).__name__) == ("FAILURE", "ContentDisallowed")
    assert ran == []


def test_headers_that_no_broker_carries_are_refused(app: Celery, ran: list[Any]) -> None:
    with pytest.raises(TypeError):
        app.tasks["note"].apply_async(("bread",), headers={"key": object()})


def test_celerys_signals_come_as_ever(app: Celery, ran: list[Any]) -> None:
    names = ["before_task_publish", "after_task_publish", "task_received", "task_prerun", "task_postrun"]
    heard: list[str] = []
    receivers = [lambda name=name, **_: heard.append(name) for name in names]
    for name, receiver in zip(names, receivers, strict=True):
        getattr(signals, name).connect(receiver, weak=False)
    try:
        app.tasks["note"].delay("bread")
    finally:
        for name, receiver in zip(names, receivers, strict=True):
            getattr(signals, name).disconnect(receiver)
    assert heard == names


def test_live_calls_run_the_local_function_and_what_it_sends_is_live(app: Celery, ran: list[Any]) -> None:
    auto = Autocelery(app)
    factor = 3

    @app.task(name="asked", bind=True)
    def asked(self: Any) -> Any:
        app.tasks["note"].delay(self.request.task)
        return self.request.shadow

    headers: list[Any] = []
    receiver = lambda headers_=headers, headers=None, **_: headers_.append(headers.get("autocelery"))  # noqa: E731
    signals.before_task_publish.connect(receiver, weak=False)
    try:
        assert asked.live.delay().get() is None
        with auto.live():
            asked.delay().get()
    finally:
        signals.before_task_publish.disconnect(receiver)
    assert ran == ["asked", "asked"]
    assert [each["task"] for each in headers] == ["asked", "note", "asked", "note"]
    assert auto.live(lambda x: x * factor).delay(7).get() == 21
    assert list(auto.map(lambda x: x + factor, [1, 2], progress=False)) == [4, 5]
    assert chain(app.tasks["note"].live.s({1, 2}), asked.live.si())().get() is None
    assert ran[-2:] == [{1, 2}, "asked"]


def test_a_call_that_is_pinned_to_other_code_says_so(app: Celery, ran: list[Any]) -> None:
    from autocelery import Snapshot

    auto = Autocelery(app)
    result = auto.using(app.tasks["note"], Snapshot("a" * 64, "key")).delay(1)
    with pytest.raises(TaskNotInSnapshot, match="pinned to the snapshot aaaaaaaaaaaa"):
        result.get()
    with pytest.raises(StoreNotConfigured, match="run in the calling process"):
        auto.using(app.tasks["note"], "abc")
    assert ran == []


def test_one_line_in_the_log_says_so(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="autocelery"):
        assert make_eager(app) is make_eager(app)
    assert [record.getMessage() for record in caplog.records] == [
        "No broker: tasks of bakery run in this process, at once. Set CELERY_BROKER_URL=redis://... for workers."
    ]


def test_without_a_broker_and_not_for_development_it_is_an_error(app: Celery) -> None:
    with pytest.raises(BrokerNotConfigured, match="CELERY_BROKER_URL"):
        make_eager_without_broker(app, debug=False)
    assert make_eager_without_broker(app, debug=True) is app.autocelery_eager


def test_a_broker_is_all_it_takes_to_be_real(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://localhost")
    assert make_eager_without_broker(app, debug=True) is None
    assert not hasattr(app, "autocelery_eager")


def test_apps_do_not_meet(app: Celery, ran: list[Any]) -> None:

    @app.task(name="own", shared=False)
    def own() -> None:
        ran.append("own")

    other = Celery("other", set_as_current=False)
    eager = make_eager(other, announce=False)
    try:
        assert other.send_task("own").state == "FAILURE"
        assert ran == []
        assert app.send_task("own").state == "SUCCESS"
    finally:
        eager.stop()


def test_an_app_that_was_eager_is_as_it_was(app: Celery) -> None:
    before = len(pools.connections), len(pools.producers)
    for _ in range(3):
        make_eager(app, announce=False)
        app.send_task("nobody")
        app.autocelery_eager.stop()
    gc.collect()
    assert (len(pools.connections), len(pools.producers)) == before
    assert not {"send_task", "_connection", "autocelery_eager"} & set(vars(app))
    assert type(app.backend).__name__ == "DisabledBackend"
