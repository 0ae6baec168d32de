"""What a task's own code does about a call of it that ended in the worker's main process.

Celery calls hooks and errbacks there, with the deployed code: for a process
that died, a hard time limit, a rejected message. Of a live call, the host of
its snapshot does it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import states
from celery.app.task import Context, Task

logger = logging.getLogger("celery.worker")


def done(
    task: Task,
    uuid: str,
    args: Any,
    kwargs: Any,
    request: dict[str, Any],
    steps: Sequence[tuple[str, BaseException]],
) -> dict[str, Any]:
    """Do each of ``steps``, whether or not the one before failed.

    ``steps`` are ``(name, exception)``: ``errbacks``, ``on_failure`` or ``after_return``.
    """
    context = Context(request, args=args, kwargs=kwargs, called_directly=False)
    task.request_stack.push(context)
    try:
        for name, exc in steps:
            try:
                _do(task, name, exc, context)
            except Exception:
                logger.exception("%s of task %s[%s] raised", name, task.name, uuid)
    finally:
        task.request_stack.pop()
    return {"result": None, "runtime": 0.0}


def _do(task: Task, name: str, exc: BaseException, context: Context) -> None:
    if name == "errbacks":
        task.backend._call_task_errbacks(context, exc, None)
    elif name == "on_failure":
        task.on_failure(exc, context.id, context.args, context.kwargs, _described(exc))
    elif name == "after_return":
        task.after_return(states.FAILURE, exc, context.id, context.args, context.kwargs, None)


def _described(exc: BaseException) -> ExceptionInfo:
    try:
        raise exc
    except BaseException:
        return ExceptionInfo()
