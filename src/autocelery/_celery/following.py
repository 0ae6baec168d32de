"""What autocelery does with each worker of an app: an agent beside it, its tasks' signatures held, its word to ``up``.

Started and stopped by Celery's own signals.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery, signals

from autocelery._celery import live_task, signatures, supervised
from autocelery_host import current_snapshot


def follow_workers_of(app: Celery) -> None:
    """Start an agent with each worker of ``app`` in this process, and stop it with the worker."""

    def is_ours(sender: Any) -> bool:
        return current_snapshot() is None and getattr(sender, "app", None) is app

    def start(sender: Any = None, **_: Any) -> None:
        if is_ours(sender):
            signatures.adopt_all(app)
            _start_agent(app, sender)

    def take_up(sender: Any = None, **_: Any) -> None:
        if not is_ours(sender):
            return
        supervised.tell_ready()
        if _asks_back(app):
            from autocelery._celery import parking

            parking.ask_back_beside(app)

    def stop(sender: Any = None, **_: Any) -> None:
        if is_ours(sender):
            from autocelery._celery import aftermath, serving

            aftermath.finish()
            serving.stop_agent()

    if "celery.bin.control" in sys.modules:  # `celery inspect autocelery` looks its commands up here
        from autocelery._celery import control  # noqa: F401

    signals.worker_init.connect(start, weak=False, dispatch_uid=f"autocelery-start-{id(app)}")
    signals.worker_ready.connect(take_up, weak=False, dispatch_uid=f"autocelery-ready-{id(app)}")
    signals.worker_shutdown.connect(stop, weak=False, dispatch_uid=f"autocelery-stop-{id(app)}")


def _start_agent(app: Celery, worker: Any) -> None:
    """Start the agent beside ``worker``; one that is a thread of a test runs no live calls."""
    from autocelery._celery import control, serving  # noqa: F401 - control registers its commands

    if not hasattr(app, live_task.IN_A_THREAD):
        serving.start_agent(app, worker)


def _asks_back(app: Celery) -> bool:
    """Whether workers of ``app`` ask for what is parked; what is, is not for a test's worker."""
    parks = any(signatures.policy_of(task) == signatures.PARK for task in app.tasks.values())
    return parks and not hasattr(app, live_task.IN_A_THREAD)
