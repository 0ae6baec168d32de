"""What the cases cannot say: versions, Django's zone, suppressions, and what is mended."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from autocelery._doctor import fixing, looking
from autocelery._doctor.evidence import Evidence
from autocelery._doctor.known_bugs import KNOWN_BUGS, bugs_of
from autocelery._doctor.rules import TABLE
from autocelery._doctor.sarif import as_sarif
from autocelery._doctor.services import workers
from autocelery.errors import ConfigurationError
from tests.patients import Patient

_ADD = "@app.task\ndef add(x, y):\n    return x + y\n"
_WAITS = "from proj.tasks import add\ndef view():\n    return add.delay(1, 2).get()\n"
_CRONTAB = f"""{_ADD}
from celery.schedules import crontab
app.conf.beat_schedule = {{"nightly": {{"task": "proj.tasks.add", "schedule": crontab(hour=8, minute=0)}}}}
"""


@pytest.mark.parametrize(
    ("versions", "has", "issue"),
    [
        ({"celery": "5.4.0"}, set(), "celery/celery#8882"),
        ({"celery": "5.5.0"}, {"rabbitmq"}, "celery/celery#9657"),
        ({"kombu": "5.3.7"}, {"redis"}, "celery/kombu#2007"),
    ],
)
def test_versions_with_known_bugs(versions: dict[str, str], has: set[str], issue: str) -> None:
    assert issue in [each.issue for each in bugs_of(versions, frozenset(has))]


@pytest.mark.parametrize(
    ("versions", "has", "issue"),
    [
        ({"celery": "5.6.0"}, set(), "celery/celery#8882"),
        ({"celery": "5.4.0"}, {"rabbitmq"}, "celery/celery#9657"),
        ({"kombu": "5.3.7"}, {"rabbitmq"}, "celery/kombu#2007"),
        ({"kombu": "5.2.2"}, {"redis"}, "celery/kombu#2007"),
    ],
)
def test_versions_without_them(versions: dict[str, str], has: set[str], issue: str) -> None:
    assert issue not in [each.issue for each in bugs_of(versions, frozenset(has))]


def test_an_old_version_is_reported_with_its_issue_and_a_new_one_is_not(patient: Patient) -> None:
    with patient.imported() as app:
        app.finalize()
        for installed, count in (("5.5.3", 1), ("99.0", 0)):
            evidence = Evidence(app, offline=True)
            evidence.__dict__["versions"] = {"celery": installed}
            found = [each for each in TABLE["AC110"].findings(evidence) if "issues/8882" in each.message]
            assert len(found) == count


def test_each_known_bug_has_a_date_and_an_issue() -> None:
    for bug in KNOWN_BUGS:
        assert bug.issue.count("#") == 1
        assert len(bug.date) == len("2026-01-31")
    assert [each.date for each in KNOWN_BUGS if "." in each.date] == []


def test_crontabs_in_another_zone_than_djangos(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    patient.tasks(_CRONTAB)
    conf = SimpleNamespace(settings=SimpleNamespace(configured=True, TIME_ZONE="Europe/Madrid"))
    monkeypatch.setitem(sys.modules, "django.conf", conf)  # type: ignore[arg-type]
    assert [each.fix for each in patient.findings("AC087")] == ["timezone = 'Europe/Madrid'"]
    patient.settings(timezone="Europe/Madrid")
    assert patient.findings("AC087") == []


def test_a_local_time_is_right_where_django_and_celery_have_one_zone(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient.tasks(
        f"{_ADD}from datetime import datetime\ndef later():\n    add.apply_async((1, 2), eta=datetime.now())\n"
    )
    patient.settings(timezone="Europe/Madrid")
    assert len(patient.findings("AC053")) == 1
    conf = SimpleNamespace(settings=SimpleNamespace(configured=True, TIME_ZONE="Europe/Madrid"))
    monkeypatch.setitem(sys.modules, "django.conf", conf)  # type: ignore[arg-type]
    assert patient.findings("AC053") == []


@pytest.mark.parametrize("name", ["orders/tests.py", "orders/test_views.py", "orders/tests/views.py"])
def test_what_tests_do_is_no_fault_of_the_project(patient: Patient, name: str) -> None:
    patient.tasks(_ADD)
    patient.write("orders/views.py", _WAITS)
    patient.write(name, _WAITS)
    assert [each.where.file for each in patient.findings("AC033")] == ["orders/views.py"]


_SUPPRESSED = [
    "@app.task{ignore}\nasync def fetch():\n    pass\n",
    "@app.task\nasync def fetch():{ignore}\n    pass\n",
    "{ignore}\n@app.task\nasync def fetch():\n    pass\n",
]


@pytest.mark.parametrize("text", _SUPPRESSED)
def test_a_comment_hides_what_is_on_its_line_its_decorator_or_the_line_below(
    patient: Patient, text: str
) -> None:
    patient.tasks("")
    hidden_anyway = patient.look().ignored
    for comment, count in (
        ("  # autocelery: ignore[AC042]: run by hand", 0),
        ("# autocelery: ignore[AC001, AC042]", 0),
        ("  # autocelery: ignore[AC041]", 1),
        ("", 1),
    ):
        patient.tasks(text.format(ignore=comment))
        report = patient.look()
        assert len([each for each in report.findings if each.code == "AC042"]) == count
        assert report.ignored - hidden_anyway == 1 - count


@pytest.mark.parametrize(
    "text", ["[tool]\nautocelery = { doctor = 5 }", "[tool]\nautocelery = 5", "tool = 5"]
)
def test_what_is_no_table_is_refused(patient: Patient, text: str) -> None:
    patient.write("pyproject.toml", f"{text}\n")
    with pytest.raises(ConfigurationError, match="is no table"):
        patient.look()


def test_pyproject_hides_codes_everywhere_and_by_file(patient: Patient) -> None:
    patient.tasks("@app.task\nasync def fetch():\n    pass\n")
    table = patient.folder / "pyproject.toml"
    for text, count in (
        ('ignore = ["AC042"]', 0),
        ('ignore = ["AC041"]', 1),
        ('per-file-ignores = {"proj/t*.py" = ["AC042"]}', 0),
        ('per-file-ignores = {"proj/x.py" = ["AC042"]}', 1),
    ):
        table.write_text(f"[tool.autocelery.doctor]\n{text}\n")
        assert len(patient.findings("AC042")) == count


@pytest.mark.parametrize(
    "text", ["ignore = 'AC042'", "ignore = ['x']", "ignored = []", "per-file-ignores = []", "x ="]
)
def test_a_table_that_makes_no_sense_is_refused(patient: Patient, text: str) -> None:
    patient.write("pyproject.toml", f"[tool.autocelery.doctor]\n{text}\n")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        patient.look()


def mends(patient: Patient, write: bool = False) -> fixing.Mends:
    """Return what --fix would do, from the project's own folder; and do it."""
    with patient.imported() as app:
        report = looking.look(app, offline=True)
        found = fixing.plan(report.findings, report.evidence)
        for each in found.edits if write else ():
            each.write()
        return found


def test_fix_changes_the_value_that_is_written(patient: Patient) -> None:
    patient.settings(accept_content=["json", "pickle"])
    (edit,) = mends(patient, write=True).edits
    assert "-app.conf.accept_content = ['json', 'pickle']" in edit.diff
    assert "+app.conf.accept_content = ['json']" in edit.diff
    assert patient.findings("AC090") == []


def test_fix_adds_a_line_below_the_apps_settings(patient: Patient) -> None:
    patient.settings(task_time_limit=None, task_acks_late=True)
    mends(patient, write=True)
    assert patient.findings("AC010") == []
    assert patient.findings("AC014") == []
    ast.parse((patient.folder / "proj" / "celery.py").read_text())


def test_what_is_to_be_added_to_a_setting_is_told_without_the_keys_that_an_environment_gave_it(
    patient: Patient,
) -> None:
    patient.settings(task_acks_late=True, task_time_limit=4000)
    with (patient.folder / "proj" / "celery.py").open("a") as file:
        file.write("app.conf.broker_transport_options = dict(global_keyprefix='bakery:')\n")
    (finding,) = patient.findings("AC010")
    told = "add {'visibility_timeout': 8000} to broker_transport_options, and keep what else it has"
    assert finding.fix == told
    found = mends(patient)
    assert found.told == (f"proj/celery.py:8: {told}",)
    assert "visibility_timeout" not in "".join(each.diff for each in found.edits)


def test_fix_adds_to_a_setting_and_keeps_what_is_written_there(patient: Patient) -> None:
    patient.settings(
        task_acks_late=True, task_time_limit=4000, broker_transport_options={"socket_timeout": 5}
    )
    (edit,) = mends(patient, write=True).edits
    assert (
        "+app.conf.broker_transport_options = {'socket_timeout': 5, 'visibility_timeout': 8000}" in edit.diff
    )
    assert patient.findings("AC010") == []


def test_fix_keeps_the_line_endings_and_whatever_it_does_not_change(patient: Patient) -> None:
    path = patient.folder / "proj" / "celery.py"
    path.write_bytes(b'# \xc3\xa9\r\nfrom celery import Celery\r\napp = Celery("proj")  # here\r\nx = 1\r\n')
    mends(patient, write=True)
    lines = path.read_bytes().split(b"\r\n")
    assert lines[:3] == [b"# \xc3\xa9", b"from celery import Celery", b'app = Celery("proj")  # here']
    assert b"app.conf.task_time_limit = 3600" in lines
    assert b"x = 1" in lines
    assert b"\n" not in b"".join(lines)


def test_fix_writes_djangos_names_where_its_settings_are(patient: Patient) -> None:
    patient.write("settings.py", 'SECRET_KEY = "x"\nCELERY_BROKER_URL = "redis://localhost"\nDEBUG = False\n')
    patient.write(
        "proj/celery.py",
        'from celery import Celery\napp = Celery("proj")\napp.config_from_object("settings", namespace="CELERY")\n',
    )
    (edit,) = mends(patient).edits
    assert edit.shown == "settings.py"
    assert "+CELERY_TASK_TIME_LIMIT = 3600" in edit.diff


def test_fix_names_the_settings_module_that_has_no_setting_of_celery_yet(patient: Patient) -> None:
    patient.write("settings.py", 'SECRET_KEY = "x"\n')
    patient.write(
        "proj/celery.py",
        'from celery import Celery\napp = Celery("proj")\napp.config_from_object("settings", namespace="CELERY")\n',
    )
    assert "In settings.py, write: CELERY_TASK_TIME_LIMIT = 3600" in mends(patient).told


_NAMED = 'from celery import Celery\napp = Celery("proj")\napp.config_from_object("proj.celeryconfig")\n'


def test_fix_writes_into_the_module_that_the_app_names_or_what_it_imports_settings_from(
    patient: Patient,
) -> None:
    patient.write("proj/celery.py", _NAMED)
    patient.write("proj/base.py", 'broker_url = "redis://localhost"\n')
    patient.write("proj/celeryconfig.py", "from proj.base import *\nenable_utc = False\n")
    patient.write("proj/clock.py", 'enable_utc = False\ntimezone = "Europe/Madrid"\n')
    (edit,) = mends(patient).edits
    assert edit.shown == "proj/celeryconfig.py"
    assert "+enable_utc = True" in edit.diff
    assert "+task_time_limit = 3600" in edit.diff
    patient.write("proj/celeryconfig.py", "from proj.base import broker_url\n")
    assert [each.shown for each in mends(patient).edits] == ["proj/base.py"]


def test_fix_leaves_a_module_alone_that_is_no_configuration(patient: Patient) -> None:
    patient.write(
        "proj/factory.py",
        'from celery import Celery\ndef make():\n    return Celery("proj", broker="redis://localhost")\n',
    )
    patient.write("proj/celery.py", "from proj.factory import make\napp = make()\n")
    patient.write("proj/clock.py", 'timezone = "Europe/Madrid"\n')
    found = mends(patient)
    assert found.edits == ()
    assert "Where the app is set up, write: task_time_limit = 3600" in found.told


def test_fix_leaves_a_value_alone_that_is_set_in_two_places(patient: Patient) -> None:
    patient.settings(enable_utc=False)
    patient.write(
        "proj/other.py", "from celery import Celery\nother = Celery()\nother.conf.enable_utc = False\n"
    )
    assert mends(patient).edits == ()


def test_fix_says_what_to_write_where_it_cannot_know(patient: Patient) -> None:
    patient.write(
        "proj/celery.py",
        'import os\nfrom celery import Celery\napp = Celery("proj")\n'
        'app.conf.task_time_limit = 60\napp.conf.accept_content = os.environ.get("X", "pickle,json").split(",")\n',
    )
    found = mends(patient)
    assert found.edits == ()
    assert found.told == (
        "proj/celery.py:5 works it out when it runs. Have it say: accept_content = ['json']",
    )


def autocelery(patient: Patient, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's folder."""
    command = [sys.executable, "-m", "autocelery", *words]
    return subprocess.run(
        command, check=False, cwd=patient.folder, capture_output=True, text=True, env={**os.environ}
    )


def test_the_command_prints_findings_and_exits_with_what_they_are(patient: Patient) -> None:
    patient.tasks("@app.task\nasync def fetch():\n    pass\n@app.task\ndef last():\n    pass\n")
    shown = autocelery(patient, "-A", "proj", "doctor", "--offline")
    assert shown.returncode == 1
    assert "AC042 error: A coroutine as a task\n  task proj.tasks.fetch (proj/tasks.py:4)" in shown.stdout
    assert len(shown.stdout.splitlines()) < 8
    told = json.loads(autocelery(patient, "-A", "proj", "doctor", "--offline", "--json").stdout)
    assert [each["code"] for each in told] == ["AC042"]
    assert {"code", "level", "where", "message", "fix"} <= told[0].keys()
    log = json.loads(autocelery(patient, "-A", "proj", "doctor", "--offline", "--sarif").stdout)
    assert log["runs"][0]["results"][0]["ruleId"] == "AC042"


def test_the_command_exits_with_0_when_nothing_is_as_bad_as_asked(patient: Patient) -> None:
    patient.settings(enable_utc=False)
    assert autocelery(patient, "-A", "proj", "doctor", "--offline").returncode == 1
    assert autocelery(patient, "-A", "proj", "doctor", "--offline", "--fail-on", "error").returncode == 0


def test_the_command_exits_with_2_when_it_could_not_look(patient: Patient) -> None:
    shown = autocelery(patient, "-A", "nowhere", "doctor", "--offline")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "nowhere" in shown.stderr
    assert autocelery(patient, "doctor", "explain", "AC999").returncode == 2
    patient.tasks("import a_module_that_is_not_there\n")
    shown = autocelery(patient, "-A", "proj", "doctor", "--offline")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "proj/tasks.py" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_diff_changes_nothing_and_fix_does(patient: Patient) -> None:
    patient.settings(accept_content=["json", "pickle"])
    before = (patient.folder / "proj" / "celery.py").read_bytes()
    assert "+app.conf" in autocelery(patient, "-A", "proj", "doctor", "--offline", "--diff").stderr
    assert autocelery(patient, "-A", "proj", "doctor", "--offline").returncode == 1
    assert (patient.folder / "proj" / "celery.py").read_bytes() == before
    assert "+app.conf" in autocelery(patient, "-A", "proj", "doctor", "--offline", "--fix").stderr
    assert autocelery(patient, "-A", "proj", "doctor", "--offline").returncode == 0


def test_explain_prints_a_rule_and_lists_them_all(patient: Patient) -> None:
    shown = autocelery(patient, "doctor", "explain", "ac012").stdout
    assert shown.startswith("AC012 info: Prefetched tasks wait behind a running one\n")
    assert "https://github.com/celery/celery/issues/4537" in shown
    listed = autocelery(patient, "doctor", "explain").stdout
    assert all(code in listed for code in TABLE)


def test_there_are_forty_rules_and_more_and_each_says_all_that_it_has_to() -> None:
    assert len(TABLE) >= 40
    for rule in TABLE.values():
        assert all((rule.title, rule.why, rule.fix, rule.since, rule.look.__doc__))
        assert rule.level in ("error", "warning", "info")


def test_sarif_points_to_rules_and_lines(patient: Patient) -> None:
    patient.tasks("@app.task\nasync def fetch():\n    pass\n")
    (result,) = as_sarif(patient.look().findings, looking.all_rules(), "")["runs"][0]["results"]
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "proj/tasks.py"
    assert location["physicalLocation"]["region"]["startLine"] == 4


def test_sarif_has_a_file_for_each_result_which_github_insists_on(patient: Patient) -> None:
    patient.settings(task_time_limit=None)
    patient.write("a b/views.py", "URL = 'redis://:s3cr3t-w0rd@cache.internal:6379/0'\n")
    shown = autocelery(patient, "-A", "proj", "doctor", "--offline", "--sarif")
    places = {
        each["ruleId"]: each["locations"][0]["physicalLocation"]
        for each in json.loads(shown.stdout)["runs"][0]["results"]
    }
    assert places["AC020"]["artifactLocation"]["uri"] == "proj/celery.py"
    assert places["AC092"] == {
        "artifactLocation": {"uri": "a%20b/views.py"},
        "region": {"startLine": 1},
    }


def test_an_entry_that_is_no_table_does_not_stop_the_look(patient: Patient) -> None:
    patient.settings(beat_schedule={"a": "proj.tasks.add"}, enable_utc=False)
    assert len(patient.findings("AC086")) == 1


def test_files_that_do_not_parse_and_tests_are_passed_over(patient: Patient, tmp_path: Path) -> None:
    patient.write("proj/broken.py", "def (\n")
    patient.write("tests/test_proj.py", "URL = 'redis://:s3cr3t-w0rd@cache.internal:6379/0'\n")
    assert patient.look().findings == ()


def test_a_task_of_a_worker_may_have_a_space_in_its_name() -> None:
    told = {"registered": {"w": ["sp ace [rate_limit=1/m]", "proj.plain"]}}
    assert workers._worker("w", told).tasks == {"sp ace", "proj.plain"}
