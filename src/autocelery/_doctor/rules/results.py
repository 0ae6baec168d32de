"""Rules on what tasks return: where it is kept, for how long, and who reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import timedelta

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Change, Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.services.broker import kind_of
from autocelery._doctor.source.module import Module
from autocelery._doctor.source.registry import RegisteredTask
from autocelery._doctor.source.sends import SENDING, Send, as_send, known_tasks, sends_in

#: Names of what reads results, wherever they stand.
_READERS = frozenset({"AsyncResult", "GroupResult", "ResultSet", "EagerResult", "chord", "allow_join_result"})
_READING = frozenset(
    {"get", "join", "join_native", "wait", "ready", "successful", "failed", "state", "status", "result"}
)
#: Backends whose results nobody but beat's cleaning removes.
_CLEANED = ("db", "mongodb", "file", "django-db", "django", "database", "arangodb", "azureblockblob")
_A_DAY = 86400


def _backend(evidence: Evidence) -> str:
    """Return the scheme of the result backend; empty where there is none."""
    said = evidence.settings.get("result_backend")
    text = str(said or "").partition("://")[0].partition("+")[0].rstrip(":/").lower()
    return "" if text in ("disabled", "none") or evidence.is_eager else text


def _reads_results(evidence: Evidence) -> bool:
    if getattr(evidence.app, "autocelery", None) is not None:
        return True  # live calls do
    for module in evidence.source.modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name | ast.Attribute) and _name(node) in _READERS:
                return True
            if isinstance(node, ast.Attribute) and node.attr in _READING and _is_send(node.value):
                return True
            if isinstance(node, ast.Assign) and _is_send(node.value):
                return True  # somebody keeps it, to look at it or to show its id
            if isinstance(node, ast.Return) and node.value is not None and _is_send(node.value):
                return True
    return False


def _name(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _is_send(node: ast.AST) -> bool:
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    if is_call and node.func.attr in SENDING:  # type: ignore[attr-defined]
        return True
    return isinstance(node, ast.Attribute) and node.attr in ("id", "task_id") and _is_send(node.value)


@rule(
    "AC030",
    "Results that nobody reads",
    level="info",
    since="every version",
    why="Each task ends with a write to the result backend, which is kept for a day. Where no code asks for results "
    "that is work and memory for nothing.",
    fix="task_ignore_result = True, and ignore_result=False on the tasks whose results are read.",
)
def unread_results(evidence: Evidence) -> Iterator[Sight]:
    """See a backend, tasks that write to it, and no code that reads."""
    backend = _backend(evidence)
    if not backend or backend.startswith("django") or evidence.settings.get("task_ignore_result"):
        return  # Django's admin shows them
    keeping = [task for task in evidence.tasks if not task.task.ignore_result]
    if keeping and not _reads_results(evidence):
        yield Sight(
            evidence.settings.place("result_backend"),
            f"{len(keeping)} task{'s' if len(keeping) > 1 else ''} store results, and no code here reads any.",
        )


@rule(
    "AC031",
    "Results for ever",
    level="warning",
    since="every version",
    why="With result_expires of 0 or None nothing removes a result. The result backend grows with every task, until "
    "its memory or its disk is full.",
    fix="result_expires = 86400",
)
def results_for_ever(evidence: Evidence) -> Iterator[Sight]:
    """See results that do not expire."""
    expires = evidence.settings.get("result_expires")
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if _backend(evidence) not in ("", "rpc") and seconds in (None, 0, False):
        yield Sight(
            evidence.settings.place("result_expires"),
            "Results are kept for ever.",
            fix=f"{evidence.settings.spelled('result_expires')} = {_A_DAY}",
            change=Change("result_expires", _A_DAY),
        )


@rule(
    "AC032",
    "Results that only beat removes",
    level="info",
    since="every version",
    why="Databases and folders do not forget by themselves: celery.backend_cleanup removes what has expired, and beat "
    "sends it at 4 in the morning. Where no beat runs, results stay.",
    fix="Run one beat, or send celery.backend_cleanup from cron.",
)
def nobody_cleans(evidence: Evidence) -> Iterator[Sight]:
    """See such a backend, and neither a schedule nor a beat."""
    has_beat = evidence.beat_schedule or any(each.is_beat for each in (*evidence.commands, *evidence.running))
    if _backend(evidence) in _CLEANED and not has_beat:
        yield Sight(
            evidence.settings.place("result_backend"), "No beat is seen that would remove old results."
        )


@rule(
    "AC033",
    "A result is waited for, and none is stored",
    level="error",
    since="every version",
    why="Without a result backend get() raises NotImplementedError, and state is always PENDING.",
    fix="result_backend = 'redis://...', or do not wait.",
)
def waits_without_backend(evidence: Evidence) -> Iterator[Sight]:
    """See ``add.delay(2, 2).get()`` where there is no result backend."""
    if _backend(evidence) or evidence.is_eager:
        return
    known = known_tasks(evidence.tasks)
    for module, call in evidence.source.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("get", "wait", "ready"):
            sent = as_send(module, call.func.value, known)
            if sent is not None and sent.task is not None and sent.method in SENDING:
                place = sent.place
                yield Sight(
                    place, f"The result of {sent.task.name} is waited for, and there is no result backend."
                )


@rule(
    "AC034",
    "A chord that cannot end",
    level="error",
    since="every version",
    why="A chord's body starts when all results of its header are there. Without a result backend there are none, and "
    "rpc:// cannot count them: the body never runs.",
    fix="result_backend = 'redis://...' or a database",
)
def chord_without_backend(evidence: Evidence) -> Iterator[Sight]:
    """See chords with a backend that cannot have them."""
    backend = _backend(evidence)
    if backend not in ("", "rpc") or evidence.is_eager:
        return
    for module, call in evidence.source.calls():
        if module.meaning(call.func) in ("celery.chord", "celery.canvas.chord"):
            said = f"the result backend is {backend}://" if backend else "there is no result backend"
            yield Sight(_at(module.shown, call.lineno), f"A chord, and {said}.")


@rule(
    "AC035",
    "Results in the memory of one process",
    level="error",
    since="every version",
    why="cache+memory:// keeps results in the process that stores them. Whoever sent the task is another process, and "
    "waits for ever.",
    fix="result_backend = 'redis://...'",
)
def results_in_memory(evidence: Evidence) -> Iterator[Sight]:
    """See a backend that is a dictionary."""
    said = str(evidence.settings.get("result_backend") or "")
    if not evidence.is_eager and (said.startswith("cache+memory") or kind_of(said) == "memory"):
        yield Sight(evidence.settings.place("result_backend"), f"The result backend is {said}.")


@rule(
    "AC036",
    "A result backend that was removed",
    level="error",
    since="Celery 5.0",
    why="The amqp result backend, a queue for each result, is gone since Celery 5.0: workers fail when they start.",
    fix="result_backend = 'rpc://', or Redis where others than the sender read results.",
)
def removed_backend(evidence: Evidence) -> Iterator[Sight]:
    """See ``amqp`` as the result backend."""
    if _backend(evidence) in ("amqp", "pyamqp"):
        yield Sight(
            evidence.settings.place("result_backend"),
            "The result backend is amqp.",
            fix=f"{evidence.settings.spelled('result_backend')} = 'rpc://'",
            change=Change("result_backend", "rpc://"),
        )


@rule(
    "AC037",
    "The result of a task that stores none",
    level="error",
    since="every version",
    why="A task with ignore_result stores nothing. Its get() returns None, or waits until its timeout.",
    fix="ignore_result=False on the task.",
)
def reads_ignored(evidence: Evidence) -> Iterator[Sight]:
    """See get() on a task that ignores its results."""
    if not _backend(evidence):
        return
    known = known_tasks(evidence.tasks)
    for module, call in evidence.source.calls():
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("get", "wait"):
            sent = as_send(module, call.func.value, known)
            if sent is not None and sent.task and sent.method in SENDING and _stores_none(sent, sent.task):
                yield Sight(sent.place, f"{sent.task.name} stores no result, and here it is waited for.")


@rule(
    "AC038",
    "A chord over tasks that store no results",
    level="error",
    since="every version",
    why="The body of a chord starts when the results of its header are counted. Tasks with ignore_result are not, "
    "and the body never runs.",
    fix="ignore_result=False on the tasks of the header.",
    issues=("celery/celery#4207",),
)
def chord_of_ignored(evidence: Evidence) -> Iterator[Sight]:
    """See signatures of such tasks in the header of a chord."""
    inside = {
        id(node)
        for module, call in evidence.source.calls()
        if module.meaning(call.func) in ("celery.chord", "celery.canvas.chord") and call.args
        for node in _last_ones(module, call.args[0])
    }
    for send in sends_in(evidence.source, evidence.tasks):
        if id(send.call) in inside and send.task and _stores_none(send, send.task):
            yield Sight(send.place, f"{send.task.name} stores no result, and a chord waits for it.")


def _stores_none(send: Send, task: RegisteredTask) -> bool:
    """Whether this call's result is ignored: what the call says goes before what its task says."""
    said = send.option("ignore_result")
    return bool(said.value if isinstance(said, ast.Constant) else said is None and task.task.ignore_result)


def _last_ones(module: Module, node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a chord's header; of a chain in it those of its last task, whose result is counted."""
    yield node
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        children = [node.right]
    elif isinstance(node, ast.Call) and module.meaning(node.func) in ("celery.chain", "celery.canvas.chain"):
        children = children[-1:]
    for each in children:
        yield from _last_ones(module, each)


def _at(file: str, line: int) -> Place:
    return Place("", file, line)
