"""The class of the tasks of Flask and FastAPI projects: a call with what cannot be sent says what to send instead."""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.result import AsyncResult

from autocelery.presets import _arguments


class CheckedTask(Task):
    """A task whose calls are refused, with the mend, where the serializer does not carry an argument."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult:
        """Send the task.

        Raises:
            ArgumentNotSerializable: an argument cannot be sent.
        """
        with _arguments.explained(self, args, kwargs, options):
            return super().apply_async(args, kwargs, **options)
