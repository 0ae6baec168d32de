"""The table of queues as an app's settings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from autocelery import Autocelery
from autocelery._celery import routing
from autocelery.errors import UpInvalid

TABLE = """
[queues]
hello = { tasks = ["proj.tasks.say_hello"], workers = 2 }
reports = { tasks = ["proj.reports.*"], priority = 3 }
"""


def app_in(folder: Path, **settings: Any) -> Celery:
    (folder / "autocelery.toml").write_text(TABLE)
    app = Celery("proj", broker="memory://", set_as_current=False)
    app.conf.update(settings)
    Autocelery(app, top=folder)
    return app


def queue_of(app: Celery, task: str) -> str:
    route = app.amqp.router.route({}, task)
    return str(getattr(route.get("queue"), "name", app.conf.task_default_queue))


def test_tasks_go_where_the_table_says(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    assert {
        name: queue_of(app, name) for name in ("proj.tasks.say_hello", "proj.reports.daily", "proj.other")
    } == {
        "proj.tasks.say_hello": "hello",
        "proj.reports.daily": "reports",
        "proj.other": "celery",
    }
    assert sorted(app.amqp.queues) == ["celery", "hello", "reports"]
    app.close()


def test_the_apps_own_routes_and_queues_go_before(tmp_path: Path) -> None:
    app = app_in(tmp_path, task_routes={"proj.reports.daily": {"queue": "own"}}, task_default_queue="other")
    assert queue_of(app, "proj.reports.daily") == "own"
    assert queue_of(app, "proj.reports.monthly") == "reports"
    assert {"other", "hello", "reports"} <= set(app.amqp.queues)
    app.close()


def test_the_apps_own_queues_may_be_a_mapping(tmp_path: Path) -> None:
    app = app_in(tmp_path, task_queues={"own": {"exchange": "own", "routing_key": "own"}})
    assert sorted(app.amqp.queues) == ["hello", "own", "reports"]
    app.close()


def test_an_app_without_a_table_is_left_alone(tmp_path: Path) -> None:
    app = Celery("proj", broker="memory://", set_as_current=False)
    Autocelery(app, top=tmp_path)
    assert (app.conf.task_routes, app.conf.task_queues) == (None, None)
    app.close()


def test_a_table_that_makes_no_sense_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "autocelery.toml").write_text("[queues]\nhello = { task = 1 }\n")
    app = Celery("proj", broker="memory://", set_as_current=False)
    with pytest.raises(UpInvalid, match=r"queues\.hello\.task is not known here, did you mean 'tasks'"):
        Autocelery(app, top=tmp_path)
    app.close()


def test_a_line_says_its_type_of_queue_else_it_is_as_the_apps_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocelery._celery.routing.VERSION", (5, 5, 0))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "autocelery.toml").write_text(
        "[queues]\nsafe = { tasks = ['proj.pay'], type = 'quorum' }\nplain = { tasks = ['proj.say'] }\n"
    )
    app = Celery("proj", broker="memory://", set_as_current=False)
    Autocelery(app, top=tmp_path / "one")
    queues = app.amqp.queues
    assert queues["safe"].queue_arguments == {"x-queue-type": "quorum"}
    assert queues["safe"].exchange.type == "topic", "only behind one of these RabbitMQ delays messages"
    assert queues["plain"].queue_arguments is None
    assert queues["plain"].exchange.type == "direct"
    other = app_in(tmp_path, task_default_queue_type="quorum")
    assert {other.amqp.queues[name].queue_arguments["x-queue-type"] for name in ("hello", "reports")} == {
        "quorum"
    }


def test_a_celery_that_has_no_quorum_queues_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocelery._celery.routing.VERSION", (5, 4, 0))
    (tmp_path / "autocelery.toml").write_text("[queues]\nq = { type = 'quorum' }\n")
    with pytest.raises(UpInvalid, match=r"queues\.q\.type is 'quorum'.*since 5\.5"):
        Autocelery(Celery("proj", broker="memory://", set_as_current=False), top=tmp_path)


def test_an_app_that_gets_its_autocelery_twice_is_routed_once(tmp_path: Path) -> None:
    app = app_in(tmp_path)
    Autocelery(app, top=tmp_path)
    assert len(app.conf.task_routes) == 1


def test_who_adds_autocelery_from_an_installed_package_routes_nothing(
    tmp_path: Path,
) -> None:
    """As the command does for an app without one: the app is routed alike wherever it runs."""
    package = tmp_path / "lib" / "site-packages" / "tool"
    package.mkdir(parents=True)
    (tmp_path / "autocelery.toml").write_text(TABLE)
    code = compile("auto = Autocelery(app)", str(package / "__init__.py"), "exec")
    app = Celery("proj", broker="memory://", set_as_current=False)
    exec(
        code,
        {"Autocelery": Autocelery, "app": app, "__name__": "tool", "__file__": str(package / "__init__.py")},
    )
    assert "hello" not in app.amqp.queues


@pytest.mark.parametrize(("chosen", "heard"), [([], ["more"]), (["hello"], [])])
def test_a_worker_listens_to_what_the_table_got_unless_it_chose_its_queues(
    tmp_path: Path, chosen: list[str], heard: list[str]
) -> None:
    app = app_in(tmp_path)
    app.amqp.queues.select(chosen)
    (tmp_path / "autocelery.toml").write_text(f"{TABLE}more = {{}}\n")
    asked: list[str] = []
    consumer = SimpleNamespace(app=app, add_task_queue=asked.append, call_soon=lambda do, name: do(name))
    for _ in range(2):
        routing.listen_to_new(consumer)
    assert asked == heard
    app.close()
