"""Tasks that take too long."""

from __future__ import annotations

import signal
import threading

from celery.exceptions import SoftTimeLimitExceeded

from .celery import app
from .hooked import Hooked
from .recording import record, stop_at_gate

LONG = 20


def take_long():
    """Wait as a task does that never ends, in short steps: signals are met between them."""
    for _ in range(LONG * 20):
        threading.Event().wait(0.05)


@app.task(bind=True)
def waits(self):
    stop_at_gate(self.request.id)


@app.task
def slow():
    take_long()
    return "too late"


@app.task(bind=True, soft_time_limit=2)
def softly_limited(self):
    try:
        take_long()
    except SoftTimeLimitExceeded:
        record(self.request.id, "cleaned up")
        return "in time"


@app.task(base=Hooked, time_limit=2)
def hard_limited():
    take_long()


@app.task(base=Hooked, acks_late=True, time_limit=2)
def hard_limited_late():
    take_long()


@app.task(base=Hooked, bind=True)
def terminable(self):
    record(self.request.id, "running")
    stop_at_gate(self.request.id)


@app.task(base=Hooked)
def killed():
    import os

    os.kill(os.getpid(), signal.SIGKILL)
    take_long()
