"""The commands of a Django project with the preset, and what it says of bad settings; no worker runs here."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.django_projects import Project

ROOT = Path(__file__).parent.parent.parent.parent
REDIS = "redis://:hunter2@localhost:6379/0"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "shop")


def test_diffsettings_shows_what_the_table_of_the_documentation_says(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        "preset_reference", ROOT / "scripts" / "preset_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = (ROOT / "docs" / "reference" / "presets.md").read_text()
    assert page == reference.page(), "Run: .venv/bin/python scripts/preset_reference.py"
    shown = Project(tmp_path / "shop", **reference.ENVIRON).manage("diffsettings").stdout
    found = dict(re.findall(r"^(CELERY_\w+) = (.*?)  ###$", shown, re.M))
    assert {name: ast.literal_eval(text) for name, text in found.items()} == reference.django_settings()
    rows = re.findall(r"^\| `(CELERY_\w+)` \| (?:`(.*?)`|\[below\].*?) \|", page, re.M)
    assert [name for name, _ in rows] == sorted(found)
    assert [(name, text) for name, text in rows if text] == [(n, found[n]) for n, t in rows if t]


def test_settings_shows_each_value_and_where_it_came_from_and_no_password(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", options="time_limit=600", REDIS_URL=REDIS)
    project.append("settings.py", "CELERY_TASK_TRACK_STARTED = False\nCELERY_TASK_ACKS_LATE = True\n")
    shown = project.manage("autocelery", "settings").stdout
    lines = {line.split(" = ")[0]: line for line in shown.splitlines()}
    assert lines["CELERY_BROKER_URL"].endswith("# environment (REDIS_URL)")
    assert lines["CELERY_TASK_TIME_LIMIT"].endswith("# option (configure(globals(), time_limit=...))")
    assert lines["CELERY_TASK_TRACK_STARTED"].startswith("CELERY_TASK_TRACK_STARTED = False")
    for own in ("CELERY_TASK_TRACK_STARTED", "CELERY_TASK_ACKS_LATE"):
        assert lines[own].endswith("# project (shop.settings)")
    assert lines["CELERY_TASK_SERIALIZER"].endswith("# preset")
    assert 'CACHES["django-cache"]' in lines
    assert "hunter2" not in shown
    rows = json.loads(project.manage("autocelery", "settings", "--json").stdout)
    assert [each["name"] for each in rows] == sorted(lines)


def test_what_stands_below_configure_wins_and_what_follows_from_it_follows(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", REDIS_URL=REDIS)
    project.append(
        "settings.py",
        'CELERY_BROKER_URL = "amqp://own//"\nTIME_ZONE = "Asia/Tokyo"\nCELERY_RESULT_EXTENDED = 0\n',
    )
    found: dict[str, Any] = dict(
        re.findall(r"^(CELERY_\w+) = (.*?)  ###$", project.manage("diffsettings").stdout, re.M)
    )
    assert found["CELERY_BROKER_URL"] == "'amqp://own//'"
    assert found["CELERY_TIMEZONE"] == "'Asia/Tokyo'"
    assert found["CELERY_RESULT_EXTENDED"] == "0"
    assert "CELERY_BROKER_TRANSPORT_OPTIONS" not in found


def test_apps_that_are_assigned_below_configure_are_an_error_that_says_so(project: Project) -> None:
    project.ready()
    project.append("settings.py", 'INSTALLED_APPS = ["django.contrib.contenttypes"]\n')
    done = project.manage("shell", "-c", "from shop.tasks import add; add.delay(1, 2)")
    assert "is not in INSTALLED_APPS" in done.stderr
    assert "Move configure(globals()) to the end of the settings" in done.stderr


def test_configure_and_the_app_import_no_model(project: Project) -> None:
    project.ready()
    code = (
        "import sys, django.conf; import shop.settings, shop.celery; "
        "print([m for m in sys.modules if m.startswith('django.db.models') or m.endswith('.models')])"
    )
    done = project._run("-c", code)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_startautocelery_shows_the_diff_and_asks_writes_once_and_leaves_what_is_there(
    project: Project,
) -> None:
    asked = project.manage("startautocelery")
    assert "+++ b/shop/celery.py" in asked.stdout
    assert "Nothing was written" in asked.stderr
    assert asked.returncode == 1
    assert not (project.folder / "shop" / "celery.py").exists()
    assert "Nothing was written" in project.manage("startautocelery", "--dry-run").stdout
    assert "Wrote shop/celery.py" in project.manage("startautocelery", "--no-input").stdout
    package = project.folder / "shop"
    before = {path.name: path.read_text() for path in package.glob("*.py")}
    again = project.manage("startautocelery", "--no-input")
    assert "Nothing to do" in again.stdout
    assert {path.name: path.read_text() for path in package.glob("*.py")} == before
    assert project.manage("check").returncode == 0


def test_startautocelery_completes_a_project_that_has_some_of_it(project: Project) -> None:
    project.append("celery.py", "from celery import Celery\napp = Celery('shop')\n")
    project.append("__init__.py", '__all__ = ["version"]\nversion = 1\n')
    done = project.manage("startautocelery", "--no-input")
    assert "celery.py is there and stays as it is" in done.stderr
    assert "--- a/shop/__init__.py" in done.stdout
    text = (project.folder / "shop" / "__init__.py").read_text()
    assert text.startswith('__all__ = ["version"]\nversion = 1\n')
    assert "from .celery import app as celery_app" in text


def test_a_malformed_redis_url_is_named_at_the_start_without_its_password(tmp_path: Path) -> None:
    done = Project(tmp_path / "shop", REDIS_URL="redis://:hunter2@host:port/0").manage("check")
    assert done.returncode == 1
    assert "REDIS_URL is malformed" in done.stderr
    assert "hunter2" not in done.stderr


def test_an_unknown_time_zone_is_named_at_the_start(project: Project) -> None:
    project.append("settings.py", 'CELERY_TIMEZONE = "Mars/Base"\n')
    done = project.manage("check")
    assert done.returncode == 1
    assert "CELERY_TIMEZONE is 'Mars/Base'" in done.stderr


def test_no_broker_outside_of_development_is_an_error_at_the_start_and_at_the_call(project: Project) -> None:
    project.ready()
    project.replace("DEBUG = True", "DEBUG = False")
    checked = project.manage("check")
    assert checked.returncode == 1
    assert "autocelery.E001" in checked.stderr
    assert "Set REDIS_URL or CELERY_BROKER_URL" in checked.stderr
    called = project.manage("shell", "-c", "from shop.tasks import add; add.delay(1, 2)")
    assert "BrokerNotConfigured: No broker is configured" in called.stderr


def test_a_name_that_another_project_may_have_is_warned_of_where_redis_is_shared(tmp_path: Path) -> None:
    project = Project(tmp_path / "any", "config", REDIS_URL=REDIS)
    assert "autocelery.W001" in project.manage("check").stderr
    project.replace("configure(globals())", 'configure(globals(), prefix="shop")')
    assert "autocelery.W001" not in project.manage("check").stderr


def test_a_worker_that_could_run_nothing_says_why_and_ends(project: Project) -> None:
    project.manage("startautocelery", "--no-input")
    worker = ("-m", "celery", "-A", "shop", "worker", "-P", "solo")
    without = project._run(*worker)
    assert without.returncode == 1
    assert "A worker needs a broker" in without.stderr
    project.environment["CELERY_BROKER_URL"] = "memory://"
    unmigrated = project._run(*worker)
    assert unmigrated.returncode == 1
    assert "python manage.py migrate" in unmigrated.stderr
    assert "Traceback" not in unmigrated.stderr


def test_a_call_whose_result_has_no_table_says_what_makes_it(project: Project) -> None:
    project.manage("startautocelery", "--no-input")
    done = project.manage("shell", "-c", "from shop.tasks import add; add.delay(1, 2)")
    assert "DatabaseNotMigrated" in done.stderr
    assert "python manage.py migrate" in done.stderr


def test_without_a_broker_tasks_run_in_the_process_with_results_that_are_found_by_id(
    project: Project,
) -> None:
    project.ready()
    code = (
        "from shop.tasks import add\nfrom celery.result import AsyncResult\n"
        "answer = AsyncResult(add.delay(2, 3).id).get(timeout=5)"
    )
    assert project.ask(code) == 5
    said = project.manage(
        "shell", "-c", "from shop.tasks import add; add.delay(1, 2); add.delay(1, 2)"
    ).stderr
    assert said.count("No broker: tasks of shop run in this process") == 1


def test_the_doctor_finds_and_mends_a_setting_in_the_settings_module(tmp_path: Path) -> None:
    project = Project(tmp_path / "shop", REDIS_URL=REDIS).with_app()
    project.append("settings.py", 'CELERY_ACCEPT_CONTENT = ["pickle"]\n')
    text = (project.folder / "shop" / "settings.py").read_text()
    line = text.splitlines().index('CELERY_ACCEPT_CONTENT = ["pickle"]') + 1
    (found,) = [each for each in json.loads(project.doctor("--json")) if each["code"] == "AC090"]
    assert found["where"] == f"CELERY_ACCEPT_CONTENT (shop/settings.py:{line})"
    project.doctor("--fix")
    assert "CELERY_ACCEPT_CONTENT = ['json']" in (project.folder / "shop" / "settings.py").read_text()
