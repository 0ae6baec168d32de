"""Tasks about their own message."""

from __future__ import annotations

from celery.exceptions import Ignore, Reject

from .celery import app
from .recording import count


@app.task(bind=True)
def ignores(self):
    self.update_state(state="MINE", meta={"set": "before"})
    raise Ignore


@app.task(acks_late=True)
def rejects():
    raise Reject("unwanted", requeue=False)


@app.task(bind=True, acks_late=True)
def rejects_once(self):
    if count(self.request.id, "tries") == 1:
        raise Reject("again please", requeue=True)
    return "the second time"


@app.task
def rejects_early():
    raise Reject("acknowledged already", requeue=False)


@app.task(acks_late=True)
def late(x):
    return x


@app.task(acks_late=True)
def late_failing():
    raise ValueError("late")


@app.task(acks_late=True, acks_on_failure_or_timeout=False)
def late_failing_rejected():
    raise ValueError("rejected")


@app.task(bind=True)
def routed(self):
    return self.request.delivery_info["routing_key"]


@app.task(bind=True)
def prioritised(self):
    return self.request.delivery_info["priority"]


@app.task(rate_limit="1000/s")
def limited_in_rate(x):
    return x
