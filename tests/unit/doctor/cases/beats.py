"""Periodic tasks."""

from __future__ import annotations

from tests.unit.doctor.cases.case import fires, silent

_ADD = "@app.task\ndef add(x, y):\n    return x + y\n"
_HOURLY = {"task": "proj.tasks.add", "schedule": 3600.0, "args": (1, 2)}


def _crontab(hour: int, name: str = "proj.tasks.add") -> str:
    entry = f'{{"task": "{name}", "schedule": crontab(hour={hour}, minute=30)}}'
    return f'{_ADD}from celery.schedules import crontab\napp.conf.beat_schedule = {{"nightly": {entry}}}\n'


CASES = [
    fires("AC080", "procfile", files={"Procfile": "one: celery -A proj beat\ntwo: celery -A proj beat\n"}),
    fires("AC080", "embedded", files={"Procfile": "worker: celery -A proj worker -B\nbeat: celery -A proj beat\n"}),
    fires("AC080", "numprocs", files={"supervisord.conf": "[program:b]\ncommand=celery -A proj beat\nnumprocs=2\n"}),
    fires("AC080", "replicas",
          files={"compose.yaml": 'services:\n  beat:\n    command: ["celery", "-A", "proj", "beat"]\n'
          "    deploy:\n      replicas: 3\n"}, says="3 beats"),
    silent("AC080", "one", files={"Procfile": "worker: celery -A proj worker\nbeat: celery -A proj beat\n"}),
    silent("AC080", "ours", files={"Procfile": "a: autocelery -A proj beat\nb: autocelery -A proj beat\n"}),
    silent("AC080", "two-apps", files={"Procfile": "a: celery -A proj beat\nb: celery -A other beat\n"}),
    silent("AC080", "two-files",
          files={"Procfile": "b: celery -A proj beat\n", "b.service": "ExecStart=celery -A proj beat\n"}),
    fires("AC081", "embedded", files={"Procfile": "worker: celery -A proj worker -B\n"}, says="Procfile:1"),
    silent("AC081", "for-development", files={"Procfile.dev": "worker: celery -A proj worker -B\n"}),
    silent("AC081", "apart", files={"Procfile": "worker: celery -A proj worker -Q big\n"}),
    fires("AC082", "unknown",
          _ADD, beat_schedule={"a": {"task": "proj.tasks.ad", "schedule": 3600.0}}, says="proj.tasks.add"),
    silent("AC082", "of-another-project", _ADD, beat_schedule={
        "a": {"task": "billing.run", "schedule": 3600.0, "options": {"queue": "billing"}}}),
    silent("AC082", "known", _ADD, beat_schedule={"a": _HOURLY}),
    fires("AC083", "twice", _ADD, beat_schedule={"a": _HOURLY, "b": _HOURLY}),
    silent("AC083", "other-queue", _ADD, beat_schedule={
        "a": {**_HOURLY, "options": {"queue": "eu"}}, "b": {**_HOURLY, "options": {"queue": "us"}}}),
    silent("AC083", "other-arguments", _ADD, beat_schedule={"a": _HOURLY, "b": {**_HOURLY, "args": (2, 3)}}),
    fires("AC084", "often", _ADD, beat_schedule={"a": {**_HOURLY, "schedule": 10.0}}, says="expires"),
    silent("AC084", "expires", _ADD, beat_schedule={"a": {**_HOURLY, "schedule": 10.0, "options": {"expires": 10}}}),
    silent("AC084", "hourly", _ADD, beat_schedule={"a": _HOURLY}),
    fires("AC085", "half-past-two", _crontab(2), timezone="Europe/Madrid"),
    silent("AC085", "utc", _crontab(2)),
    silent("AC085", "in-the-morning", _crontab(8), timezone="Europe/Madrid"),
    fires("AC086", "off", enable_utc=False),
    silent("AC086", "on"),
]  # fmt: skip
