"""What is wrong with an app's settings and the names of its tasks, and with where its calls would go."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from celery import Celery

from autocelery._publish import naming
from autocelery._publish.checks.reached import Source, is_task_decorator
from autocelery._publish.checks.shipped import Shipped
from autocelery._publish.inspecting import WorkerReport
from autocelery._publish.problems import Problem
from autocelery.errors import AutoceleryError
from autocelery_host.header import BUILT_IN

_SENDERS = frozenset({"send_task", "signature", "subtask"})


def problems_of(app: Celery, sources: Iterable[Source], shipped: Shipped) -> Iterator[Problem]:
    """Yield what the settings and the code of an app's tasks show."""
    sources = list(sources)
    if app.conf.task_always_eager:
        what = "task_always_eager is on: every call runs here, at once, and none goes to a worker."
        yield Problem("warning", what, "Turn it off where calls should be live.")
    if type(app.backend).__name__ == "DisabledBackend":
        what = "The app has no result backend: calls run, and nobody gets their results."
        yield Problem("warning", what, "Set result_backend in the app's settings, unless none is waited for.")
    yield from _of_schedule(app)
    yield from _sent_by_name(app, sources, shipped)
    yield from _of_one_name(sources, shipped)


def of_queues(app: Celery, workers: Collection[WorkerReport]) -> Iterator[Problem]:
    """Yield the queues that live calls would wait in, for none of the workers that could run them listens there."""
    able = [each for each in workers if each.runs_live_calls]
    listened = {queue for each in able for queue in each.queues}
    if not listened:  # which is said in other words
        return
    for queue, names in unattended(app, listened).items():
        what = (
            f"{shown(names)} would wait in the queue {queue!r}, to which no worker with autocelery listens."
        )
        yield Problem("error", what, f"Start one: celery {naming.options_of(app)} worker -Q {queue}")


def unattended(app: Celery, listened: Collection[str]) -> Mapping[str, list[str]]:
    """Return the names of tasks that would wait in a queue that is none of ``listened``, by that queue."""
    waiting: dict[str, list[str]] = {}
    for name, task in sorted(app.tasks.items()):
        if name.startswith(BUILT_IN):
            continue
        try:
            queue = naming.queue_of(task, [], {})
        except (AutoceleryError, LookupError, TypeError):  # a router of the user's may want arguments
            continue
        if queue is not None and queue not in listened:
            waiting.setdefault(queue, []).append(name)
    return waiting


def shown(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def variables_read(sources: Iterable[Source], shipped: Shipped) -> Mapping[str, str]:
    """Return the environment variables that are set here and that code cannot do without, and where it reads each."""
    found: dict[str, str] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            if (
                not isinstance(node, ast.Subscript)
                or node in source.guarded
                or not isinstance(node.ctx, ast.Load)
            ):
                continue
            name = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if isinstance(name, str) and name in os.environ and _is_environ(node.value, source):
                found.setdefault(name, f"{shipped.shown(source.path)}:{node.lineno}")
    return found


def _is_environ(node: ast.expr, source: Source) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "environ" and isinstance(node.value, ast.Name) and node.value.id == "os"
    is_imported = any((each.module, each.name) == ("os", "environ") for each in source.imports)
    return isinstance(node, ast.Name) and node.id == "environ" and is_imported


def of_variables(read: Mapping[str, str], workers: Collection[WorkerReport]) -> Iterator[Problem]:
    """Yield the variables that code reads and a worker said that it lacks."""
    for name, where in sorted(read.items()):
        lacking = [each.hostname for each in workers if name in each.lacks_variables]
        if lacking:
            what = f"{where} reads the variable {name}, which {', '.join(lacking)} does not have."
            yield Problem("warning", what, f"Set it where the worker is started: {name}=...")


def _of_schedule(app: Celery) -> Iterator[Problem]:
    for entry, told in dict(app.conf.beat_schedule or {}).items():
        name = told.get("task") if isinstance(told, Mapping) else None
        if isinstance(name, str) and name not in app.tasks and _is_local(name, app):
            what = f"The schedule's {entry} sends {name}, and the code here defines no such task."
            yield Problem("warning", what, "Correct its name in beat_schedule, or import its module.")


def _sent_by_name(app: Celery, sources: Iterable[Source], shipped: Shipped) -> Iterator[Problem]:
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call) or _last(node.func) not in _SENDERS or not node.args:
                continue
            first = node.args[0]
            name = first.value if isinstance(first, ast.Constant) else None
            if isinstance(name, str) and name not in app.tasks and _is_local(name, app):
                where = f"{shipped.shown(source.path)}:{node.lineno}"
                what = f"{where} sends {name}, and the code here defines no such task."
                yield Problem(
                    "warning", what, "Correct its name, or have the app import its module (include)."
                )


def _of_one_name(sources: Iterable[Source], shipped: Shipped) -> Iterator[Problem]:
    """Yield the names that are given to two tasks: Celery keeps one of them."""
    first: dict[str, str] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node in source.guarded:
                continue
            where = f"{shipped.shown(source.path)}:{node.lineno}"
            for name in filter(None, map(_given_name, node.decorator_list)):
                if first.setdefault(name, where) != where:
                    what = f"{where} defines the task {name}, and so does {first[name]}: only one of them is run."
                    yield Problem("error", what, "Give one of them another name.")


def _given_name(decorator: ast.expr) -> str | None:
    if not isinstance(decorator, ast.Call) or not is_task_decorator(decorator):
        return None
    given = next((each.value for each in decorator.keywords if each.arg == "name"), None)
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def _last(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_local(name: str, app: Celery) -> bool:
    """Whether a task of that name would be in a module of which the app has other tasks."""
    module = name.rpartition(".")[0]
    return bool(module) and (
        module in sys.modules or any(each.startswith(f"{module}.") for each in app.tasks)
    )
