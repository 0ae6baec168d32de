"""The schedule in Django's own database: made by migrate, edited in the admin, sent by a beat that runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Inspector, create_engine, inspect

from autocelery._beat.sql_tables import METADATA
from autocelery._broker import EmbeddedBroker, LocalBroker
from tests.django_projects import Project, without_what_the_desk_says
from tests.stopwatch import Stopwatch
from tests.waiting import PATIENCE, wait_for

#: Seconds within which instances that run see an edit; docs/how-to/beat.md.
SEEN_WITHIN = 5.0
SUITE = Path(__file__).parent.parent.parent / "projects" / "schedule" / "test_schedule.py"
_SCHEDULE = """
CELERY_BEAT_SCHEDULE = {
    "from settings": {"task": "shop.tasks.add", "schedule": 3600, "args": [1, 2], "options": {"queue": "slow"}}
}
"""
_EDIT = """
import time
from django.contrib.auth.models import User
from django.test import Client
from autocelery.presets.django.beat._forms import EntryForm
from autocelery.presets.django.beat.models import Entry
client = Client(HTTP_HOST="localhost")
client.force_login(User.objects.get_or_create(username="admin", is_staff=True, is_superuser=True)[0])
[row] = Entry.objects.filter(key="from settings")
page = f"/admin/autocelery_beat/entry/{row.pk}/change/"
form = EntryForm(instance=row)
values = {name: form[name].value() for name in form.fields}
fields = {name: value for name, value in values.items() if value is not None and value is not False}
saved = client.post(page, {**fields, "kind": "interval", "seconds": "1"})
answer = [saved.status_code, time.time()]
"""


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The SQLAlchemy URL of a database of the test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/db.sqlite3"
    name = "mariadb_database" if request.param == "mariadb" else "postgres_database"
    url: str = request.getfixturevalue(name)
    return url.replace("+psycopg:", "+psycopg2:") if request.param == "psycopg2" else url


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedBroker]:
    """A Redis that nobody else writes to."""
    with LocalBroker() as running:
        yield running


@contextmanager
def running(project: Project, *command: str) -> Iterator[Path]:
    """Have a process of the project run, and lend its log."""
    log = project.folder / "beat.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=project.folder,
            env={**without_what_the_desk_says(os.environ), **project.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield log
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def made(folder: Path, database: str, **environment: str) -> Project:
    """Return a project with a schedule in its database, which is not migrated."""
    project = Project(folder, options='beat="database"', **environment)
    project.use_database(database)
    project.append("settings.py", _SCHEDULE)
    return project.with_app()


def test_what_the_admin_and_the_store_do_holds_on_this_database(tmp_path: Path, database: str) -> None:
    project = made(tmp_path / "shop", database)
    (project.folder / "shop" / "test_schedule.py").write_text(SUITE.read_text())
    done = project.manage("test", "--no-input", "shop.test_schedule", patience=4 * PATIENCE)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"^Ran (2[4-9]|[3-9]\d) tests", done.stderr, re.M), done.stderr


def test_migrate_makes_the_tables_that_a_store_makes(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    project = made(tmp_path / "shop", database)
    changed = project.manage("makemigrations", "--check", "--dry-run")
    assert changed.returncode == 0, changed.stdout
    project.manage("migrate", "-v0").check_returncode()
    migrated = tables(database)
    engine = create_engine(database)
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    engine.dispose()
    assert migrated == tables(database)


def tables(url: str) -> dict[str, Any]:
    """Return what the database says of the tables: columns, keys and indexes."""
    engine = create_engine(url)
    found = inspect(engine)
    told = {name: _table(found, name) for name in METADATA.tables}
    engine.dispose()
    return told


def _table(found: Inspector, name: str) -> dict[str, Any]:
    # Django's texts are longer in MariaDB, and for PostgreSQL it adds indexes that LIKE can use.
    columns = {
        each["name"]: (
            str(each["type"]).replace("LONGTEXT", "TEXT").partition(" COLLATE")[0],
            each["nullable"],
        )
        for each in found.get_columns(name)
    }
    indexes = {each["name"]: each["column_names"] for each in found.get_indexes(name)}
    return {
        "columns": columns,
        "key": found.get_pk_constraint(name)["constrained_columns"],
        "indexes": {index: names for index, names in indexes.items() if not str(index).endswith("_like")},
    }


@pytest.mark.parametrize("database", ["sqlite", "postgresql", "psycopg2", "mariadb"], indirect=True)
def test_a_running_beat_sends_what_the_settings_say_and_sees_an_edit_in_the_admin(
    tmp_path: Path, database: str, server: EmbeddedBroker
) -> None:
    project = made(tmp_path / "shop", database, REDIS_URL=server.broker_url, ENVIRONMENT=tmp_path.name)
    project.manage("migrate", "-v0").check_returncode()
    client = redis.Redis.from_url(server.broker_url.replace("redis+socket://", "unix://"))
    queue = f"{tmp_path.name}:shop:celery:slow"
    with running(project, "celery", "-A", "shop", "beat", "-l", "INFO", "--pidfile=") as log:
        wait_for(lambda: "this instance sends now" in log.read_text(), what=str(log))
        with Stopwatch() as watch:
            status, at = project.ask(_EDIT)
            wait_for(lambda: client.llen(queue), what=str(log))
        assert status == 302
        messages = [json.loads(each)["headers"] for each in client.lrange(queue, 0, -1)]
        assert [each["autocelery_beat"]["entry"] for each in messages] == ["from settings"] * len(messages)
        # From the edit on, the settings' own process of a second or two left out.
        assert client.time()[0] - at < SEEN_WITHIN * watch.slowdown


def test_the_commands_of_beat_work_on_it(tmp_path: Path) -> None:
    project = made(tmp_path / "shop", f"sqlite:///{tmp_path}/db.sqlite3", CELERY_BROKER_URL="memory://")
    project.manage("migrate", "-v0").check_returncode()
    project.commanded("sync", "--take", "settings", "from settings")
    project.commanded("set", "from settings", "schedule=60")
    assert "edited in the database" in project.commanded("diff")
    assert "from settings" in project.commanded("sync", "--take", "settings").splitlines()
    assert "every 3600 s" in project.commanded("list")


def test_a_worker_with_a_beat_inside_runs_what_is_due(tmp_path: Path, server: EmbeddedBroker) -> None:
    database = f"sqlite:///{tmp_path}/db.sqlite3"
    project = made(tmp_path / "shop", database, REDIS_URL=server.broker_url, ENVIRONMENT="B")
    project.append("settings.py", _SCHEDULE.replace("3600", "1").replace("slow", "celery"))
    project.manage("migrate", "-v0").check_returncode()
    worker = project.worker("-c", "1", "-B").start()
    code = (
        "from django_celery_results.models import TaskResult\n"
        "answer = list(TaskResult.objects.filter(status='SUCCESS').values_list('result', flat=True))"
    )
    try:
        assert set(wait_for(lambda: project.ask(code))) == {"3"}
    finally:
        worker.stop()


@pytest.mark.parametrize(
    "command", [("celery", "-A", "shop", "beat", "--pidfile="), ("autocelery", "-A", "shop", "beat")]
)
def test_a_database_that_is_not_migrated_is_said_at_the_start(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    project = made(tmp_path / "shop", f"sqlite:///{tmp_path}/db.sqlite3", CELERY_BROKER_URL="memory://")
    done = project._run("-m", *command)
    assert done.returncode != 0
    assert "python manage.py migrate" in done.stderr + done.stdout
    assert command[0] == "celery" or "Traceback" not in done.stderr + done.stdout
    listed = project._run("-m", "autocelery", "-A", "shop", "beat", "list")
    assert listed.returncode != 0
    assert "python manage.py migrate" in listed.stderr
    assert "Traceback" not in listed.stderr


def test_a_schedule_goes_where_a_router_leads_it(tmp_path: Path) -> None:
    project = made(tmp_path / "shop", f"sqlite:///{tmp_path}/db.sqlite3", CELERY_BROKER_URL="memory://")
    project.append("routing.py", _ROUTER)
    project.append(
        "settings.py",
        f'DATABASE_ROUTERS = ["shop.routing.Router"]\n'
        f'DATABASES["beat"] = {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{tmp_path}/beat.sqlite3"}}\n',
    )
    project.manage("migrate", "-v0").check_returncode()
    said = project._run("-m", "autocelery", "-A", "shop", "beat", "list").stderr
    assert "python manage.py migrate --database beat" in said
    project.manage("migrate", "-v0", "--database", "beat").check_returncode()
    project.commanded("set", "a", "task=shop.tasks.add", "schedule=60")
    asked = 'from autocelery.presets.django.beat.models import Entry\nanswer = Entry.objects.using("beat").count()'
    assert project.ask(asked) == 1
    engine = create_engine(f"sqlite:///{tmp_path}/db.sqlite3")
    assert "autocelery_beat_entries" not in inspect(engine).get_table_names()
    engine.dispose()


_ROUTER = """
class Router:
    def db_for_read(self, model, **hints):
        return "beat" if model._meta.app_label == "autocelery_beat" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "beat") == (app_label == "autocelery_beat")
"""


def test_a_schedule_elsewhere_leaves_the_admin_out(tmp_path: Path) -> None:
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.sqlite3"
    project = made(tmp_path / "shop", f"sqlite:///{tmp_path}/db.sqlite3", CELERY_BEAT_DATABASE_URL=elsewhere)
    assert (
        project.ask(
            "from django.apps import apps\nanswer = apps.is_installed('autocelery.presets.django.beat')"
        )
        is False
    )
    shown = project.manage("autocelery", "settings").stdout
    assert re.search(r"CELERY_BEAT_DATABASE_URL = .*# environment \(CELERY_BEAT_DATABASE_URL\)", shown)
