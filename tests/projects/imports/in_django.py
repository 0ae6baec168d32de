"""Runs what is on standard input in a Django project with django-celery-beat, and prints when each task is due there.

``DJANGO_DATABASE`` is the database's address; its tables are made.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import django
import pymysql
from django.conf import settings

pymysql.install_as_MySQLdb()  # mysqlclient has to be built

_ENGINES = {"postgresql": "postgresql", "sqlite": "sqlite3", "mysql": "mysql"}


def database(url):
    parts = urlsplit(url)
    engine = f"django.db.backends.{_ENGINES[parts.scheme.partition('+')[0]]}"
    if engine.endswith("sqlite3"):
        return {"ENGINE": engine, "NAME": parts.path[1:]}
    told = {"HOST": parts.hostname, "PORT": parts.port or "", "USER": parts.username, "PASSWORD": parts.password}
    return {"ENGINE": engine, "NAME": parts.path[1:], **{name: value or "" for name, value in told.items()}}


settings.configure(
    INSTALLED_APPS=["django_celery_beat"],
    DATABASES={"default": database(os.environ["DJANGO_DATABASE"])},
    USE_TZ=True,
    TIME_ZONE="Europe/Madrid",
    CELERY_TIMEZONE="Europe/Madrid",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from celery import Celery
from django.core.management import call_command
from django.db import connection
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

app = Celery("there", broker="memory://", set_as_current=True)
app.conf.timezone = "Europe/Madrid"
app.set_default()
call_command("migrate", verbosity=0)

exec(sys.stdin.read())

due = {}
now = datetime.now(UTC)
for each in PeriodicTask.objects.filter(enabled=True):
    try:
        is_due, wait = ModelEntry(each, app=app).is_due()
        due[each.name] = [is_due, (datetime.now(UTC) + timedelta(seconds=wait)).isoformat()]
    except Exception:
        continue
print(json.dumps(due))
