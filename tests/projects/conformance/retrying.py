"""Tasks that are tried again, after a while."""

from __future__ import annotations

from .celery import app
from .failing import Refused
from .recording import count, record


@app.task(bind=True, default_retry_delay=0.1)
def third_time(self, x):
    if self.request.retries < 2:
        raise self.retry()
    return [x, self.request.retries]


@app.task(bind=True, default_retry_delay=0.1)
def third_time_for_a_reason(self):
    try:
        if self.request.retries < 2:
            raise ConnectionError("flaky")
    except ConnectionError as exc:
        raise self.retry(exc=exc)
    return self.request.retries


@app.task(bind=True, default_retry_delay=0.1, max_retries=1)
def never(self):
    raise self.retry()


@app.task(bind=True, default_retry_delay=0.1, max_retries=1)
def never_for_a_reason(self):
    raise self.retry(exc=Refused("still not", 1))


@app.task(autoretry_for=(ConnectionError,), max_retries=2, default_retry_delay=0.1)
def by_itself(n):
    raise ConnectionError("again", n)


@app.task(bind=True, autoretry_for=(Exception,), dont_autoretry_for=(KeyError,), retry_backoff=False,
          retry_kwargs={"max_retries": 1, "countdown": 0.1})
def by_itself_unless(self):
    if self.request.retries:
        raise KeyError("not this one")
    raise ValueError("this one")


@app.task(bind=True)
def changed(self, x, by=1):
    if self.request.retries == 0:
        raise self.retry((x + 1,), {"by": by + 1}, countdown=0.1)
    return [x, by]


@app.task(bind=True)
def unthrown(self):
    if self.request.retries == 0:
        self.retry(countdown=0.1, throw=False)
        return "first"
    return "second"


@app.task(bind=True, default_retry_delay=0.1)
def with_what_it_had(self):
    record(self.request.id, "headers", self.request.headers and self.request.headers.get("color"))
    record(self.request.id, "limits", self.request.timelimit, self.request.shadow, self.request.get("color"))
    if count(self.request.id, "tries") == 1:
        raise self.retry()
    return self.request.retries
