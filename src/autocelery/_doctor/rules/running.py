"""Rules on the functions that are tasks, and on how they end."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import TypeGuard

from celery.app.task import Task

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.source.delays import sleeps_in
from autocelery._doctor.source.module import Module, dotted, keyword
from autocelery._doctor.source.registry import RegisteredTask

_LONG_SLEEP = 60
#: What ends the process that runs the task.
_ENDS = frozenset({"sys.exit", "os._exit", "os.abort", "exit", "quit"})
#: Classes whose handler takes a `Retry` too.
_BROAD = frozenset({"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"})


@rule(
    "AC043",
    "bind and the first parameter do not agree",
    level="error",
    since="every version",
    why="With bind=True the task itself is the first argument. Without it nobody passes one: every call fails with "
    "TypeError, or takes a value for the task.",
    fix="bind=True and a first parameter self, or neither.",
)
def bind_without_self(evidence: Evidence) -> Iterator[Sight]:
    """See bind=True on a function without parameters, and self without bind=True."""
    for task in evidence.tasks:
        code = getattr(task.run, "__code__", None)  # a decorator may pass on less, or more, than it gets
        if code is None or task.function is None:
            continue
        takes_any = bool(code.co_flags & inspect.CO_VARARGS)
        if task.is_bound and code.co_argcount == 0 and not takes_any:
            yield Sight(task.place, f"{task.name} has bind=True, and no parameter for the task.")
        elif not task.is_bound and code.co_argcount and code.co_varnames[0] == "self":
            yield Sight(task.place, f"{task.name} takes self, and has no bind=True: nobody passes it.")


@rule(
    "AC044",
    "A retry that is swallowed",
    level="error",
    since="every version",
    why="retry() works by raising Retry, which is an Exception. A handler around it for every exception catches that "
    "too: the message for the next try is sent, and this run goes on, or retries once more.",
    fix="Call retry() in the handler instead of the try, or put `except Retry: raise` before.",
)
def swallowed_retry(evidence: Evidence) -> Iterator[Sight]:
    """See ``self.retry()`` in a try whose handler takes everything."""
    for task in evidence.tasks:
        for node in task.body():
            if task.module is not None and _is_retry(node) and _is_swallowed(task.module, node):
                yield Sight(task.at(node), f"{task.name} catches its own Retry.")


def _is_retry(node: ast.AST) -> TypeGuard[ast.Call]:
    if (
        not isinstance(node, ast.Call)
        or not isinstance(node.func, ast.Attribute)
        or node.func.attr != "retry"
    ):
        return False
    return dotted(node.func.value) in ("self", "task") or dotted(node.func.value).endswith("current_task")


def _is_swallowed(module: Module, node: ast.AST) -> bool:
    inner = node
    for around in module.around(node):
        if isinstance(around, ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        if isinstance(around, ast.Try) and inner in around.body:
            for handler in around.handlers:
                names = _caught(module, handler)
                if any(name.endswith("Retry") for name in names):
                    return False
                if not names or any(name in _BROAD for name in names):
                    return not any(
                        isinstance(each, ast.Raise) for each in ast.walk(handler)
                    ) or _retries_again(handler)
        inner = around
    return False


def _retries_again(handler: ast.ExceptHandler) -> bool:
    return any(_is_retry(each) for each in ast.walk(handler))


def _caught(module: Module, handler: ast.ExceptHandler) -> list[str]:
    """Return the classes that a handler names; none for a bare ``except``."""
    if handler.type is None:
        return []
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [module.meaning(each) for each in types]


@rule(
    "AC045",
    "A task that sleeps",
    level="warning",
    since="every version",
    why="A process that sleeps does nothing else, and the messages that it has reserved wait with it. A few sleeping "
    "tasks stop a worker.",
    fix="Send the rest as a task of its own with countdown=..., or raise self.retry(countdown=...).",
)
def sleeps(evidence: Evidence) -> Iterator[Sight]:
    """See ``time.sleep`` of a minute and more."""
    for task in evidence.tasks:
        for each in sleeps_in(task):
            if each.seconds >= _LONG_SLEEP:
                yield Sight(each.place, f"{task.name} sleeps for {each.seconds:g} s.")


@rule(
    "AC046",
    "A task without an end",
    level="warning",
    since="every version",
    why="A loop that never ends keeps its process for good, and the worker cannot stop warmly. With acks_late the "
    "message is delivered again, and the loop runs twice.",
    fix="Do one round a task, and have beat send it; or run the loop as a program of its own.",
)
def endless(evidence: Evidence) -> Iterator[Sight]:
    """See ``while True`` that nothing leaves."""
    for task in evidence.tasks:
        if task.function is None:
            continue
        for node in ast.walk(task.function):
            if isinstance(node, ast.While) and _is_true(node.test) and not _is_left(node):
                yield Sight(task.at(node), f"{task.name} has a loop that nothing leaves.")


def _is_true(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)


def _is_left(loop: ast.While) -> bool:
    """Whether something in a loop may end it; a call may raise, which counts where nobody catches it."""
    return any(
        isinstance(each, ast.Break | ast.Return | ast.Raise | ast.Yield | ast.YieldFrom)
        for each in ast.walk(loop)
    )


@rule(
    "AC047",
    "A task that ends its process",
    level="error",
    since="every version",
    why="The pool's process is gone, not just the task: the task fails with WorkerLostError, and another process has "
    "to be started. With the threads and solo pools the whole worker ends.",
    fix="Return, or raise an exception of your own.",
)
def ends_its_process(evidence: Evidence) -> Iterator[Sight]:
    """See ``sys.exit()`` and its like in a task."""
    for task in evidence.tasks:
        for node in task.body():
            if isinstance(node, ast.Call) and task.module and task.module.meaning(node.func) in _ENDS:
                yield Sight(task.at(node), f"{task.name} calls {task.module.meaning(node.func)}.")


def _delay_of(task: RegisteredTask) -> float:
    """Return the seconds between two tries of a task that says so."""
    said = (getattr(task.task, "retry_kwargs", None) or {}).get("countdown")
    return float(said) if isinstance(said, int | float) else float(task.task.default_retry_delay)


#: Seconds from which a fixed delay leaves whatever failed the time to recover.
_PATIENT = 60


@rule(
    "AC060",
    "Retries without back-off",
    level="warning",
    since="retry_backoff came with Celery 4.2",
    why="When a service is down every task that needs it fails, and all of them come back after the same delay: again "
    "and again, all at once, at what is just recovering. Delays that grow, with jitter, spread them.",
    fix="retry_backoff=True, retry_backoff_max=600, retry_jitter=True beside autoretry_for; with self.retry(), "
    "countdown=2 ** self.request.retries.",
)
def without_backoff(evidence: Evidence) -> Iterator[Sight]:
    """See autoretry_for without retry_backoff, and retry() in a handler with a short or unstated delay."""
    for task in evidence.tasks:
        if task.max_retries is not None and task.max_retries < 2:
            continue  # there is nothing to grow
        is_fixed = getattr(task.task, "autoretry_for", ()) and not getattr(task.task, "retry_backoff", False)
        if is_fixed and not _is_patient(task):
            yield Sight(
                task.place, f"{task.name} is tried again every {_delay_of(task):g} s, without back-off."
            )
        for node in task.body():
            if task.module is not None and _is_retry(node) and _is_impatient(task, node):
                yield Sight(task.at(node), f"{task.name} retries after a failure, without back-off.")


def _is_patient(task: RegisteredTask) -> bool:
    """Whether somebody chose the delay between two tries, and it is not short."""
    decorators = task.function.decorator_list if task.function is not None else []
    said = {each.arg for call in decorators if isinstance(call, ast.Call) for each in call.keywords}
    is_chosen = "default_retry_delay" in said or _delay_of(task) != Task.default_retry_delay
    return is_chosen and _delay_of(task) >= _PATIENT


def _is_impatient(task: RegisteredTask, call: ast.AST) -> bool:
    """Whether a retry is after a failure, and its delay neither grows nor is a patient one that somebody chose."""
    assert task.module is not None
    assert isinstance(call, ast.Call)
    if not any(isinstance(each, ast.ExceptHandler) for each in task.module.around(call)):
        return False
    said = next((each.value for each in call.keywords if each.arg in ("countdown", "eta")), None)
    if said is None and any(each.arg is None for each in call.keywords):
        return False
    if said is None:
        return not _is_patient(task)
    return isinstance(said, ast.Constant) and isinstance(said.value, int | float) and said.value < _PATIENT


@rule(
    "AC061",
    "Retries without an end",
    level="warning",
    since="every version",
    why="With max_retries=None a task that can never succeed comes back for ever. Such tasks add up, and one day the "
    "workers do nothing else.",
    fix="Set max_retries to a number, and handle what is left in on_failure or a dead-letter queue.",
)
def endless_retries(evidence: Evidence) -> Iterator[Sight]:
    """See max_retries=None."""
    for task in evidence.tasks:
        retries = bool(getattr(task.task, "autoretry_for", ())) or any(
            _is_retry(node) and keyword(node, "max_retries") is None for node in task.body()
        )
        if task.max_retries is None and retries and not _counts_retries(task):
            yield Sight(task.place, f"{task.name} is tried again for ever.")


def _counts_retries(task: RegisteredTask) -> bool:
    """Whether a task looks at the number of its retries, to end them itself."""
    return any(
        isinstance(part, ast.Attribute) and part.attr == "retries"
        for node in task.body()
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
    )
