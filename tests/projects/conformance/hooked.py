"""Tasks with a base class whose hooks are recorded."""

from __future__ import annotations

from celery import Task
from celery.exceptions import Ignore

from .celery import app
from .failing import Refused
from .recording import record


class Hooked(Task):
    """Records each hook."""

    def __call__(self, *args, **kwargs):
        record(self.request.id, "__call__", args, kwargs)
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id, args, kwargs):
        record(task_id, "before_start", args, kwargs)

    def on_success(self, retval, task_id, args, kwargs):
        record(task_id, "on_success", retval, args, kwargs)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        record(task_id, "on_failure", exc, args, kwargs, bool(einfo))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        record(task_id, "on_retry", exc, args, kwargs)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        record(task_id, "after_return", status, retval, args, kwargs)


class HookThatFails(Task):
    """Its hooks raise."""

    def on_success(self, retval, task_id, args, kwargs):
        raise RuntimeError("on_success fails")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        raise RuntimeError("after_return fails")


class StartThatFails(Task):
    """The task never comes to its body."""

    def before_start(self, task_id, args, kwargs):
        raise Refused("before it began", 1)


class Counter(app.Task):
    """A task that is written as a class."""

    name = f"{__package__}.Counter"

    def run(self, up_to):
        return list(range(up_to))


counted = app.register_task(Counter())


@app.task(base=Hooked, bind=True)
def hooked(self, x):
    return x


@app.task(base=Hooked)
def hooked_failing(x):
    raise Refused("hooked", x)


@app.task(base=Hooked)
def hooked_ignoring(x):
    raise Ignore


@app.task(base=Hooked, bind=True, default_retry_delay=0.1)
def hooked_retrying(self, x):
    if self.request.retries == 0:
        raise self.retry(exc=ValueError("once"))
    return x


@app.task(base=HookThatFails)
def with_failing_hooks():
    return "done all the same"


@app.task(base=StartThatFails)
def never_started():
    return "never"
