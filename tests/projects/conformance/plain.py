"""Tasks that succeed, and tell what they see."""

from __future__ import annotations

from pprint import pformat

from .celery import app
from .recording import record, stop_at_gate


class Point:
    """A class of the project's own, for arguments that are pickled."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return type(other) is Point and (self.x, self.y) == (other.x, other.y)

    def __repr__(self):
        return f"Point({self.x}, {self.y})"


@app.task
def add(x, y=0):
    return x + y


@app.task
def returns_a_set(items):
    return set(items)


@app.task
def multiply(x, y):
    return x * y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task(serializer="pickle")
def mirrored(point):
    return repr(Point(point.y, point.x))


@app.task(ignore_result=True)
def forgotten(x):
    return x


@app.task(bind=True)
def progressing(self, steps):
    self.update_state(state="PROGRESS", meta={"done": 1, "of": steps})
    stop_at_gate(self.request.id)
    return steps


@app.task(bind=True, track_started=True)
def started(self):
    stop_at_gate(self.request.id)
    return "ended"


@app.task(bind=True)
def gated(self, *args, **kwargs):
    stop_at_gate(self.request.id)
    return "through"


@app.task(bind=True)
def seen(self, *args, **kwargs):
    """Return every field of the request, as text with the keys of dictionaries in order."""
    fields = {name: getattr(self.request, name) for name in dir(type(self.request)) if not name.startswith("_")}
    fields |= vars(self.request)
    return {name: pformat(value, width=10**6) for name, value in fields.items() if not callable(value)}


@app.task(bind=True)
def announcing(self):
    self.send_event("task-custom", said="hello")
    return self.name


@app.task(name=f"by.hand.{__package__}.named")
def named():
    return "named"


@app.task(bind=True)
def called(self, task_id, *args):
    """A callback that records what it was called with."""
    record(self.request.id, "called", task_id, args)
    return [task_id, list(args)]
