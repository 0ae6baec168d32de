"""What autocelery does with each worker of an app: an agent beside it, its tasks' signatures held, its word to ``up``.

Started and stopped by Celery's own signals.
"""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery, signals

from autocelery._celery import signatures, supervised
from autocelery_host import current_snapshot


def follow_workers_of(app: Celery) -> None:
    """Start an agent with each worker of ``app`` in this process, and stop it with the worker."""

    def is_ours(sender: Any) -> bool:
        return current_snapshot() is None and getattr(sender, "app", None) is app

    def start(sender: Any = None, **_: Any) -> None:
        if is_ours(sender):
            from autocelery._celery import control, serving  # noqa: F401 - control registers its commands

            signatures.adopt_all(app)
            serving.start_agent(app, sender)

    def take_up(sender: Any = None, **_: Any) -> None:
        if not is_ours(sender):
            return
        supervised.tell_ready()
        if any(signatures.policy_of(task) == signatures.PARK for task in app.tasks.values()):
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
