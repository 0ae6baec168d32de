"""How fast a full queue is worked off: no-op calls with results, deployed and live, in turns."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import redis

from benchmarks.drivers import arguments, reply

#: Seconds between two looks at the results: a busy client would take from the worker's cores.
_POLL_SECONDS = 0.02
_DEADLINE = 300.0


def main() -> None:
    """Fill the queue while nobody consumes, let the worker start on it, wait for the last result."""
    asked = arguments()
    tasks, celery = import_module("proj.tasks"), import_module("proj.celery")
    pinned = tasks.nothing.using(celery.auto.snapshot())
    calls = {"deployed": tasks.nothing, "live": pinned}
    rates: dict[str, list[float]] = {name: [] for name in calls}
    with redis.Redis.from_url(asked["url"]) as connection:
        for task in calls.values():
            _drain(celery.app, task, 200, connection, asked["prefix"])
        for _ in range(asked["rounds"]):
            for name, task in calls.items():
                rates[name].append(_drain(celery.app, task, asked["count"], connection, asked["prefix"]))
    reply(rates)


def _drain(app: Any, task: Any, count: int, connection: Any, prefix: str) -> float:
    """Return how many calls a second the worker made and stored, counted from its first result.

    What passes before it is the remote command's own way to the worker, which is no throughput.
    """
    queue = app.conf.task_default_queue
    _told(app.control.cancel_consumer(queue, reply=True, timeout=5))
    with app.producer_pool.acquire(block=True) as producer:
        results = [task.apply_async(producer=producer) for _ in range(count)]
    names = [f"{prefix}celery-task-meta-{result.id}" for result in results]
    app.control.add_consumer(queue, reply=False)
    began, ahead = time.perf_counter(), 0
    while (done := connection.exists(*names)) < count:
        if done and not ahead:
            began, ahead = time.perf_counter(), done
        if time.perf_counter() - began > _DEADLINE:
            raise RuntimeError(f"{count - done} of {count} calls have no result after {_DEADLINE:.0f} s")
        time.sleep(_POLL_SECONDS)
    rate = (count - ahead) / (time.perf_counter() - began)
    for result in results:
        result.forget()
    return rate


def _told(replies: Any) -> None:
    if not replies:
        raise RuntimeError("the worker did not say that it stopped consuming")


if __name__ == "__main__":
    main()
