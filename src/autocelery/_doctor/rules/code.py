"""Rules on what tasks do while they run."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.source.module import Module, keyword, number
from autocelery._doctor.source.registry import RegisteredTask
from autocelery._doctor.source.sends import SENDING, is_of_a_pool

#: Methods that wait for results.
_WAITING = frozenset({"get", "join", "join_native", "wait"})
#: What makes something with results to wait for, besides sending a task.
_WITH_RESULTS = frozenset(
    {
        "celery.result.AsyncResult",
        "celery.result.GroupResult",
        "celery.result.ResultSet",
        "celery.AsyncResult",
    }
)
_CANVAS = frozenset({"celery.group", "celery.chain", "celery.chord", "celery.canvas.group"})


@rule(
    "AC040",
    "A task waits for another task",
    level="error",
    since="Celery 3.1 warns, 4.0 and later raise RuntimeError",
    why="The task that waits keeps a process while the one that it waits for needs one. With as many waiting tasks "
    "as processes none is left and everything stands still. Celery raises 'Never call result.get() within a task!'.",
    fix="Have the next step called with the result: chain(first.s(1), second.s()), or a chord for several.",
)
def waits_for_a_task(evidence: Evidence) -> Iterator[Sight]:
    """See ``add.delay(2, 2).get()`` and its like in what a task runs."""
    for task in evidence.tasks:
        if task.module is None:
            continue
        nodes = list(task.body())
        results = _names_of_results(task.module, nodes)
        for node in nodes:
            if _waits(task.module, node, results) and not _is_allowed(task.module, node):
                yield Sight(task.at(node), f"{task.name} waits for another task's result.")


def _waits(module: Module, node: ast.AST, results: frozenset[str]) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    if node.func.attr not in _WAITING:
        return False
    stops = keyword(node, "disable_sync_subtasks")
    if isinstance(stops, ast.Constant) and stops.value is False:
        return False
    of = node.func.value
    return (isinstance(of, ast.Name) and of.id in results) or _makes_a_result(module, of)


def _names_of_results(module: Module, nodes: list[ast.AST]) -> frozenset[str]:
    """Return the variables that hold a result."""
    return frozenset(
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _makes_a_result(module, node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    )


def _makes_a_result(module: Module, node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in SENDING - {"delay_on_commit"}:
        return not is_of_a_pool(node)
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("AsyncResult", "send_task"):
        return True
    if isinstance(node.func, ast.Call) and module.meaning(node.func.func) in _CANVAS:  # group(...)()
        return True
    return module.meaning(node.func) in _WITH_RESULTS


def _is_allowed(module: Module, node: ast.AST) -> bool:
    """Whether the code says that it means to wait: ``with allow_join_result():``."""
    return any(
        isinstance(around, ast.With)
        and any(
            isinstance(item.context_expr, ast.Call)
            and module.meaning(item.context_expr.func).endswith("allow_join_result")
            for item in around.items
        )
        for around in module.around(node)
    )


#: What starts processes of its own with multiprocessing.
_PROCESSES = (
    "multiprocessing.Pool",
    "multiprocessing.Process",
    "multiprocessing.Manager",
    "multiprocessing.pool.Pool",
    "concurrent.futures.ProcessPoolExecutor",
    "concurrent.futures.process.ProcessPoolExecutor",
    "joblib.Parallel",
)


@rule(
    "AC041",
    "Child processes in a prefork task",
    level="error",
    since="every version with the prefork pool",
    why="The processes of the prefork pool are daemonic, and Python lets those have no children: the task fails with "
    "'daemonic processes are not allowed to have children'.",
    fix="Split the work into tasks of its own (group), use billiard.Pool, or run the worker with -P threads.",
    issues=("celery/celery#1709", "celery/celery#5231"),
)
def child_processes(evidence: Evidence) -> Iterator[Sight]:
    """See multiprocessing in a task, where the pool is prefork."""
    if str(evidence.settings.get("worker_pool")).rpartition(".")[2] in (
        "threads",
        "solo",
        "gevent",
        "eventlet",
    ):
        return
    for task in evidence.tasks:
        for node in task.body():
            if isinstance(node, ast.Call) and task.module and task.module.meaning(node.func) in _PROCESSES:
                if _starts_none(node):
                    continue
                name = task.module.meaning(node.func)
                yield Sight(task.at(node), f"{task.name} starts processes with {name}.")


def _starts_none(call: ast.Call) -> bool:
    """Whether joblib was told to use threads, or one job."""
    if number(keyword(call, "n_jobs")) == 1:
        return True
    asked = keyword(call, "backend") or keyword(call, "prefer")
    return isinstance(asked, ast.Constant) and str(asked.value).startswith("thread")


@rule(
    "AC042",
    "A coroutine as a task",
    level="error",
    since="every version",
    why="Celery calls the function and stores what it returns: a coroutine that nobody awaits. No line of it runs, "
    "and with a result backend the task fails with EncodeError.",
    fix="Make it a plain function that calls asyncio.run(...) inside.",
    issues=("celery/celery#6552", "celery/celery#3884", "celery/celery#9757"),
)
def coroutine(evidence: Evidence) -> Iterator[Sight]:
    """See ``async def`` below a task decorator."""
    for task in evidence.tasks:
        if inspect.iscoroutinefunction(task.run) and not _runs_itself(task):
            yield Sight(task.place, f"{task.name} is an async function, and Celery does not await it.")


def _runs_itself(task: RegisteredTask) -> bool:
    """Whether the task's class calls it in a way of its own, which may await."""
    own = type(task.task).__call__.__module__
    return not own.startswith("celery.")
