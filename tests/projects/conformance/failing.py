"""Tasks that fail in every way a task can."""

from __future__ import annotations

import sys
import threading

from .celery import app
from .recording import record


class Refused(Exception):
    """An exception class that exists only in this project."""

    def __init__(self, reason, code):
        super().__init__(reason, code)
        self.reason, self.code = reason, code


class Strange(Exception):
    """Its arguments are not those of its constructor."""

    def __init__(self, *, level):
        super().__init__(f"level {level}")


class Unpicklable(Exception):
    """Holds something that no serializer takes."""

    def __init__(self, text):
        super().__init__(text, threading.Lock())


class Outer:
    class Inner(Exception):
        """A class in a class."""


@app.task
def fails(text="broken"):
    raise ValueError(text, 42)


@app.task
def refuses():
    raise Refused("not today", 7)


@app.task
def fails_strangely():
    raise Strange(level=3)


@app.task
def fails_unpicklably():
    raise Unpicklable("has a lock")


@app.task
def fails_nestedly():
    raise Outer.Inner("inside")


@app.task
def fails_of_a_cause():
    try:
        {}["missing"]
    except KeyError as exc:
        raise RuntimeError("the cause matters") from exc


@app.task
def fails_in_a_group():
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


@app.task(throws=(KeyError,))
def fails_as_expected():
    raise KeyError("expected")


@app.task(ignore_result=True)
def fails_forgotten():
    raise ValueError("forgotten")


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def fails_remembered():
    raise ValueError("remembered")


@app.task
def returns_what_cannot_be_stored():
    return threading.Lock()


@app.task
def exits(code):
    sys.exit(code)


@app.task
def runs_out_of_memory():
    raise MemoryError("all gone")


@app.task
def interrupts():
    raise KeyboardInterrupt


def deep(n):
    return fails.run("deep") if n == 0 else deep(n - 1)


@app.task
def fails_deeply():
    deep(3)


@app.task
def old_errback(task_id):
    return f"old: {task_id}"


@app.task(bind=True)
def bound_errback(self, task_id):
    record(self.request.id, "bound_errback", task_id)
    return f"bound: {task_id}"


@app.task
def new_errback(request, exc, traceback):
    record(request.id, "new_errback", request.get("task"), exc, bool(traceback), request.args, request.kwargs)


@app.task
def new_errback_with_more(request, exc, traceback, more):
    record(request.id, "new_errback_with_more", request.get("task"), exc, bool(traceback), more)


@app.task
def errback_that_fails(request, exc, traceback):
    record(request.id, "errback_that_fails", exc)
    raise RuntimeError("the errback fails too")
