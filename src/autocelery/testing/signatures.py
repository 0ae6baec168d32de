"""What a worker would make of an old message."""

from __future__ import annotations

import inspect
from typing import Any

from celery.app.task import Task

from autocelery._celery.signatures import Arguments, fitting, mismatch
from autocelery_host.shapes import Shape, last_name


def upgraded(task: Task, version: int, /, *args: Any, **kwargs: Any) -> Arguments:
    """Return the args and kwargs that ``task`` gets from a message that was sent for an older version of it.

    Args:
        task: declared with ``upgrade={...}``.
        version: of the signature that the message was sent for, from 1.
        *args: the message's.
        **kwargs: the message's.

    Raises:
        SignatureMismatch: an upgrade raises, or what comes out does not fit the task.
    """
    sent = str(Shape(last_name(task.name), version, inspect.Signature()))
    arguments, wrong = fitting(task, sent, args, kwargs)
    if wrong:
        raise mismatch(task, sent, wrong)
    return arguments
