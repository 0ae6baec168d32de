"""A project with a schedule from the environment, and a scheduler that does to itself what tests want done.

``BEAT_ENTRIES`` is the schedule as JSON; seconds are intervals, and ``{"crontab": "* * * * *"}`` has minute, hour, day of
the week, of the month, and month. ``BEAT_CLOCK`` names a file with seconds by which the
database's clock is off. ``BEAT_HARM`` is ``WHERE:SIGNAL``: the signal that the process sends itself there, once, and
``BEAT_HARMED`` the file that says that it did.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from celery import Celery
from celery.schedules import BaseSchedule, crontab

from autocelery._beat import beating, sender, sql_store
from autocelery._beat.tenure import Tenure
from autocelery.beat import DatabaseScheduler

LEASE_SECONDS = 2.0

app = Celery("ticking", broker=os.environ["BEAT_BROKER"])
app.conf.beat_database_url = os.environ["BEAT_DATABASE"]
app.conf.broker_transport_options = json.loads(os.environ.get("BEAT_TRANSPORT", "{}"))
app.conf.task_default_queue = os.environ.get("BEAT_QUEUE", "celery")
app.conf.beat_sync = os.environ.get("BEAT_SYNC") or None


@app.task(name="add")
def add(x, y):
    return x + y


class Raising(BaseSchedule):
    def is_due(self, last_run_at):
        raise RuntimeError("the moon is not made of cheese")

    def __reduce__(self):
        return self.__class__, ()


class Unsendable(app.Task):
    name = "unsendable"

    def run(self):
        pass

    def apply_async(self, *args, **kwargs):
        raise RuntimeError("not today")


app.register_task(Unsendable())


def _schedule(told):
    if told == "raising":
        return Raising()
    return crontab(*told["crontab"].split()) if isinstance(told, dict) else told


app.conf.beat_schedule = {
    key: {**told, "schedule": _schedule(told["schedule"])} if told else told
    for key, told in json.loads(os.environ.get("BEAT_ENTRIES", "{}")).items()
}


class Quick(DatabaseScheduler):
    """With a short lease, so that tests do not wait for long."""

    def make_tenure(self, store):
        return Tenure(store, LEASE_SECONDS)


def _off(clock):
    def clock_of(engine):
        told = clock(engine)

        def shifted():
            path = Path(os.environ["BEAT_CLOCK"])
            return told() + int(float(path.read_text() or 0) * 1_000_000)

        return shifted

    return clock_of


def _harm(where):
    place, _, name = os.environ.get("BEAT_HARM", "").partition(":")
    if place != where:
        return
    try:
        os.close(os.open(os.environ["BEAT_HARMED"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), getattr(signal, name))


def _harmed(owner, name, before=None, after=None):
    told = getattr(owner, name)

    def method(*args, **kwargs):
        if before:
            _harm(before)
        result = told(*args, **kwargs)
        if after:
            _harm(after)
        return result

    setattr(owner, name, method)


if os.environ.get("BEAT_CLOCK"):
    sql_store.clock_of = _off(sql_store.clock_of)
_harmed(beating.Beating, "_decide", after="inside the transaction")
_harmed(sql_store.SqlBeatStore, "record", after="after the commit")
_harmed(sender.Sender, "_sent", before="before the broker", after="after the broker")
