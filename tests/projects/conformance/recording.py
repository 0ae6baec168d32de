"""Writes down in Redis what happens to each call, whichever process it happens in."""

from __future__ import annotations

import json
import threading

import redis
from celery import current_task, signals

from . import celery as application

_PREFIX = application.SETTINGS["prefix"]
_client = None

#: For what comes for sure.
SECONDS_TO_WAIT = 60


def client():
    """Return this process's connection, made when it is first needed."""
    global _client
    if _client is None:
        # redis-py gives up after five seconds, also where it is asked to wait for longer.
        _client = redis.Redis.from_url(
            application.SETTINGS["redis"], decode_responses=True, socket_timeout=None
        )
    return _client


def record(task_id, what, *details):
    """Append ``what`` to the record of the call ``task_id``, with the number of the run that it belongs to."""
    client().rpush(f"{_PREFIX}ran:{task_id}", json.dumps([_run(task_id), what, *[shown(each) for each in details]]))


def _run(task_id):
    """Return which run of the call this is: a retry or a replacement may begin before the one before has ended."""
    request = current_task.request if current_task else None
    return request.retries + 100 * request.replaced_task_nesting if request and request.id == task_id else -1


def _begin_after_the_run_before(task_id):
    """Wait until the run that sent this retry is over.

    Celery sends a retry first, and stores that there is one after that: on a busy machine it may do so when the retry
    has ended, and the call's state is RETRY for ever.
    """
    request = current_task.request
    before = [_run(task_id) - 1, "task_postrun"]
    for _ in range(SECONDS_TO_WAIT * 50 if request.retries else 0):
        if any(json.loads(each)[:2] == before for each in client().lrange(f"{_PREFIX}ran:{task_id}", 0, -1)):
            return
        threading.Event().wait(0.02)


def shown(value):
    """Return ``value`` as text that is the same wherever it is written."""
    if isinstance(value, BaseException):
        return f"{type(value).__module__}.{type(value).__qualname__}{value.args!r}"
    return value if isinstance(value, str | int | float | bool | type(None)) else repr(value)


def stop_at_gate(task_id):
    """Wait until the caller opens the gate of this call."""
    client().rpush(f"{_PREFIX}arrived:{task_id}", 1)
    if client().blpop(f"{_PREFIX}gate:{task_id}", timeout=SECONDS_TO_WAIT) is None:
        raise TimeoutError("nobody opened the gate")


def wait_at_gate(task_id):
    """Return once the call stands at its gate."""
    assert client().blpop(f"{_PREFIX}arrived:{task_id}", timeout=SECONDS_TO_WAIT), "the call never came to its gate"


def open_gate(task_id):
    """Let the call through its gate."""
    client().rpush(f"{_PREFIX}gate:{task_id}", 1)


def count(task_id, what):
    """Return how many times this was asked of the call, this time included."""
    return client().incr(f"{_PREFIX}count:{task_id}:{what}")


def _on_publish(when):
    def write(sender=None, headers=None, body=None, exchange=None, routing_key=None, **_):
        said = json.dumps([when, sender, headers["argsrepr"], exchange or "", routing_key])
        client().rpush(f"{_PREFIX}sent:{headers['id']}", said)

    return write


def _on_prerun(sender=None, task_id=None, args=None, kwargs=None, **_):
    if sender.app.main == application.app.main:  # the tests' process runs workers of other apps too
        _begin_after_the_run_before(task_id)
    record(task_id, "task_prerun", sender.name, args, kwargs)


def _receivers():
    yield signals.before_task_publish, _on_publish("before_task_publish")
    yield signals.after_task_publish, _on_publish("after_task_publish")
    yield signals.task_received, lambda request, **_: record(request.id, "task_received", request.name)
    yield signals.task_prerun, _on_prerun
    yield (
        signals.task_postrun,
        lambda sender, task_id, retval, state, **_: record(task_id, "task_postrun", sender.name, retval, state),
    )
    yield (
        signals.task_success,
        lambda sender, result, **_: record(sender.request.id, "task_success", sender.name, result),
    )
    yield (
        signals.task_failure,
        lambda sender, task_id, exception, args, kwargs, **_: record(
            task_id, "task_failure", sender.name, exception, args, kwargs
        ),
    )
    yield (
        signals.task_retry,
        lambda sender, request, reason, **_: record(request.id, "task_retry", sender.name, reason.exc),
    )
    yield (
        signals.task_revoked,
        lambda sender, request, terminated, signum, expired, **_: record(
            request.id, "task_revoked", sender.name, terminated, signum and int(signum), expired
        ),
    )
    yield (
        signals.task_internal_error,
        lambda sender, task_id, exception, **_: record(task_id, "task_internal_error", sender.name, exception),
    )


def connect():
    """Record every signal about tasks, in this process and its forks."""
    for signal, receiver in _receivers():
        signal.connect(receiver, weak=False)
