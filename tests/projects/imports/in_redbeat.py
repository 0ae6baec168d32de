"""Runs what is on standard input with redbeat's own entries; ``REDBEAT_URL`` and ``REDBEAT_PREFIX`` say where."""

import os
import sys
from datetime import UTC, datetime, timedelta

from celery import Celery
from celery.schedules import crontab, schedule
from redbeat import RedBeatSchedulerEntry
from redbeat.schedulers import get_redis
from redbeat.schedules import rrule

app = Celery("there", broker="memory://")
app.conf.redbeat_redis_url = os.environ["REDBEAT_URL"]
app.conf.redbeat_key_prefix = prefix = os.environ["REDBEAT_PREFIX"]
app.conf.redbeat_redis_options = {}
app.conf.timezone = "Europe/Madrid"


def save(name, when, **told):
    return RedBeatSchedulerEntry(name, "add", when, app=app, **told).save()


exec(sys.stdin.read())
