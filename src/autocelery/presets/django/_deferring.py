"""A call that waits for the commit of the transaction that it was made in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from celery.app.task import Task
from django.db import connections

from autocelery_host import aims


@dataclass(slots=True)
class DeferredCall:
    """What Django calls after the commit; what the call runs is in its options.

    Django's test cases call it without a commit, and keep it.
    """

    task: Task
    args: Any
    kwargs: Any
    options: dict[str, Any]
    is_sent: bool = field(default=False, init=False)

    @property
    def task_id(self) -> str:
        """The id that the call has from the start."""
        return str(self.options["task_id"])

    def __call__(self) -> None:
        """Send it."""
        self.is_sent = True
        with aims.sending_as_decided():
            self.task.apply_async(self.args, self.kwargs, **self.options)


def deferred_here() -> dict[str, DeferredCall]:
    """Return, by their ids, the calls that wait for the commit of a transaction of this thread."""
    return {
        each[1].task_id: each[1]
        for connection in connections.all(initialized_only=True)
        for each in connection.run_on_commit
        if isinstance(each[1], DeferredCall) and not each[1].is_sent
    }
