"""What is told before anything is sent: stores that differ, files that are no Python, queues that nobody serves."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

from autocelery import Autocelery
from autocelery._publish import naming, planning, problems, requiring, stores
from autocelery._publish.inspecting import WorkerReport
from autocelery.errors import BrokerUnavailable, ConfigurationError
from tests.unit.publish.making import collected

KEY = "a" * 16
HERE = "redis://localhost:6379/0"


def told(tmp_path: Path, here: str = HERE, **worker: Any) -> list[tuple[str, str]]:
    """Return the level and the text of what would fail on a worker that is well but for ``worker``."""
    (tmp_path / "tasks.py").write_text("x = 1\n")
    well: dict[str, Any] = {"store": HERE, "node": platform.node(), "trusted_keys": (KEY,)}
    python = ".".join(platform.python_version_tuple()[:2])
    report = WorkerReport("w@there", **{"autocelery": "1", "python": python, **well, **worker})
    found = problems.of_worker(report, KEY, stores.address(here))
    return [(each.level, f"{each.what} {each.mend}") for each in found]


def test_one_store_for_both_is_no_problem(tmp_path: Path) -> None:
    assert told(tmp_path, store="redis://127.0.0.1") == []
    assert told(tmp_path, store="") == []


@pytest.mark.parametrize(
    "store", ["redis://localhost/1", "file:///srv/blobs", f"{HERE}?autocelery_prefix=me"]
)
def test_a_worker_with_another_store_is_an_error(tmp_path: Path, store: str) -> None:
    [(level, text)] = told(tmp_path, store=store)
    assert level == "error"
    assert str(stores.address(store)) in text
    assert "AUTOCELERY_STORE" in text


def test_a_store_of_another_name_may_be_the_same_one(tmp_path: Path) -> None:
    [(level, text)] = told(tmp_path, store="redis://redis.lan:6379/0")
    assert (level, "If that is not the same store" in text) == ("warning", True)
    [(level, text)] = told(tmp_path, node="elsewhere")
    assert (level, "of its own machine, elsewhere" in text) == ("warning", True)


def test_a_worker_without_a_store_is_an_error_that_says_why(tmp_path: Path) -> None:
    [(level, text)] = told(tmp_path, store="", store_problem="There is no place for code.")
    assert level == "error"
    assert "w@there has no blob store to fetch code from: There is no place for code." in text


def test_a_worker_that_refuses_live_calls_is_an_error_with_its_mend(tmp_path: Path) -> None:
    refusal = "this worker has a pool. Start it with another one."
    [(level, text)] = told(tmp_path, refusal=refusal, store="")
    assert (level, text) == (
        "error",
        "w@there refuses live calls: this worker has a pool. Start it with another one.",
    )


def test_python_that_is_none_is_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "tasks.py").write_text("x = 1\ndef broken(:\n")
    (tmp_path / "shop" / "late.py").write_text("x = 1\n\nreturn x\n")
    (tmp_path / "old-script.py").write_text("print 'two'\n")
    (tmp_path / "fine.py").write_text("'\\d'\n")
    found = [(each.level, each.what) for each in problems.of_tree(collected(tmp_path), tmp_path)]
    assert [(level, what.split(" is not")[0]) for level, what in found] == [
        ("warning", "old-script.py:1"),
        ("error", "shop/late.py:3"),
        ("error", "shop/tasks.py:2"),
    ]


def test_a_new_folder_is_pointed_out(tmp_path: Path) -> None:
    assert problems.of_new_folder(stores.address(str(tmp_path))) == []
    [found] = problems.of_new_folder(stores.address(f"{tmp_path}/typo"))
    assert (found.level, f"{tmp_path}/typo" in found.what) == ("warning", True)


def test_tasks_that_do_not_import_are_told_with_their_line(
    tmp_path: Path, autocelery_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_tasks.py").write_text("x = 1\nprice = x / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    app = Celery("shop", broker="memory://", include=["raising_tasks"], set_as_current=False)
    [found] = planning.of_tasks(Autocelery(app, top=tmp_path))
    assert found.level == "error"
    assert 'raising_tasks.py", line 2' in found.what
    (tmp_path / "raising_tasks.py").write_text("broken(\n")
    assert planning.of_tasks(Autocelery(app, top=tmp_path)) == []  # told as a file that is no Python


def unreachable() -> Celery:
    app = Celery("shop", broker="redis://:secret@localhost:1/0", set_as_current=False)
    app.conf.update(broker_transport_options={"max_retries": 0}, broker_connection_timeout=1)
    app.conf.result_backend = "cache+memory://"
    return app


def test_plan_without_a_broker_says_what_it_knows_and_what_it_does_not(
    tmp_path: Path, autocelery_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks.py").write_text("x = 1\n")
    monkeypatch.setenv("AUTOCELERY_STORE", str(tmp_path))
    auto = Autocelery(unreachable(), top=tmp_path)
    monkeypatch.setattr(auto.shipper, "collect", lambda: collected(tmp_path))
    planned = planning.plan(auto, timeout=0.1)
    assert len(planned.problems) == 1, planned.problems
    [problem] = planned.problems
    assert planned.files == 1
    assert "redis://:***@localhost:1/0 cannot be reached" in problem.what
    assert "no worker can be asked" in problem.what
    assert "sent" not in problem.what
    with pytest.raises(BrokerUnavailable, match="no message was sent"):
        requiring.require_worker(auto.app, 0.1)


def nothing() -> None:
    """What a task may be made of."""


def test_the_queue_of_a_call_is_the_one_that_celery_would_take() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_routes = {"routed": "gpu"}
    plain, routed = (
        app.task(nothing, shared=False, name="plain"),
        app.task(nothing, shared=False, name="routed"),
    )
    assert [naming.queue_of(task, [], {}) for task in (plain, routed)] == ["celery", "gpu"]
    assert [naming.queue_of(task, [], {}, "now") for task in (plain, routed)] == ["now", "now"]


def test_where_an_exchange_decides_no_queue_is_looked_for() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    topic = Queue("topical", Exchange("news", type="topic"), routing_key="a.b")
    app.conf.update(task_queues=[Broadcast("everybody"), topic, Queue("celery")])
    app.conf.task_routes = {"routed": {"exchange": "news", "routing_key": "a.b"}}
    task = app.task(nothing, shared=False, name="plain")
    assert naming.queue_of(task, [], {}, "everybody") is None
    assert naming.queue_of(task, [], {}, "topical") is None
    assert naming.queue_of(app.task(nothing, shared=False, name="routed"), [], {}) is None


def test_a_queue_that_the_settings_forbid_is_told_with_those_there_are() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(task_queues=[Queue("fast"), Queue("slow")], task_create_missing_queues=False)
    with pytest.raises(ConfigurationError, match=r"'gpu'.* Name one of: fast, slow"):
        naming.queue_of(app.task(nothing, shared=False, name="plain"), [], {}, "gpu")
