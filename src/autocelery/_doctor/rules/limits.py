"""Rules on how long a task may run, and how much memory it may take."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Change, Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.source.module import has_double_star, keyword

#: What waits for another machine, and takes `timeout=`.
_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "request")
_WAITS_FOR_EVER = frozenset(f"requests.{verb}" for verb in _VERBS) | {
    "urllib.request.urlopen",
    "smtplib.SMTP",
    "smtplib.SMTP_SSL",
    "ftplib.FTP",
    "socket.create_connection",
}
#: Which position `timeout` has where it may be given without its name.
_POSITION = {"urllib.request.urlopen": 2, "socket.create_connection": 1}
#: Pools, and which limits they do not keep.
_IGNORING = {
    "threads": ("hard", "soft"),
    "solo": ("hard", "soft"),
    "gevent": ("soft",),
    "eventlet": ("soft",),
}
#: KiB below which a Python process with Celery in it cannot stay.
_SMALLEST = 20_000


def _has_limit(evidence: Evidence) -> bool:
    return bool(evidence.settings.seconds("task_time_limit")) or any(
        task.time_limit or task.soft_time_limit for task in evidence.tasks
    )


@rule(
    "AC020",
    "No time limit",
    level="info",
    since="every version",
    why="A task that hangs, in a read without a timeout for one, keeps its process for good. A few of these and the "
    "worker does nothing any more, without an error in any log.",
    fix="task_time_limit = 3600, and task_soft_time_limit a minute below; per task where one needs longer.",
)
def no_time_limit(evidence: Evidence) -> Iterator[Sight]:
    """See no limit in the settings and none on any task."""
    if (
        not evidence.is_eager
        and not _has_limit(evidence)
        and not evidence.settings.seconds("task_soft_time_limit")
    ):
        yield Sight(
            evidence.settings.place("task_time_limit"),
            "Neither the settings nor a task has a time limit.",
            fix=f"{evidence.settings.spelled('task_time_limit')} = 3600",
            change=Change("task_time_limit", 3600),
        )


@rule(
    "AC021",
    "A task that may wait for ever",
    level="warning",
    since="every version",
    why="The call has no timeout of its own, and the task no time limit: when the other side accepts the connection "
    "and says nothing, the process waits until somebody restarts the worker.",
    fix="Give the call a timeout=10, and the task a time_limit.",
)
def waits_for_ever(evidence: Evidence) -> Iterator[Sight]:
    """See network calls without a timeout in tasks without a limit."""
    for task in evidence.tasks:
        if task.module is None or task.time_limit or task.soft_time_limit:
            continue
        for node in task.body():
            if not isinstance(node, ast.Call):
                continue
            name = task.module.meaning(node.func)
            is_given = keyword(node, "timeout") is not None or len(node.args) > _POSITION.get(name, 99)
            if name in _WAITS_FOR_EVER and not is_given and not has_double_star(node):
                yield Sight(
                    task.at(node), f"{task.name} calls {name} without a timeout, and has no time limit."
                )


@rule(
    "AC022",
    "A soft limit that is never reached",
    level="error",
    since="every version",
    why="The soft limit raises SoftTimeLimitExceeded in the task, so that it can tidy up, and the hard limit kills its "
    "process. A soft limit that is not below the hard one never comes.",
    fix="Set task_soft_time_limit below task_time_limit.",
)
def soft_above_hard(evidence: Evidence) -> Iterator[Sight]:
    """See soft limits that are not below the hard ones."""
    hard, soft = (
        evidence.settings.seconds("task_time_limit"),
        evidence.settings.seconds("task_soft_time_limit"),
    )
    if hard and soft and soft >= hard:
        lower = int(hard - min(60, hard / 10)) or hard / 2
        yield Sight(
            evidence.settings.place("task_soft_time_limit"),
            f"The soft limit is {soft:g} s and the hard one {hard:g} s.",
            fix=f"{evidence.settings.spelled('task_soft_time_limit')} = {lower}",
            change=Change("task_soft_time_limit", lower),
        )
        return
    for task in evidence.tasks:
        own_hard, own_soft = task.time_limit, task.soft_time_limit
        if own_hard and own_soft and own_soft >= own_hard:
            yield Sight(
                task.place,
                f"The soft limit of {task.name} is {own_soft:g} s and the hard one {own_hard:g} s.",
                fix="Set soft_time_limit of the task below its time_limit.",
            )


@rule(
    "AC023",
    "Time limits that the pool does not keep",
    level="error",
    since="every version",
    why="A process can be killed, a thread cannot. The threads and solo pools keep no time limit, gevent and eventlet "
    "no soft one, and none while a task blocks. What is set looks like a protection and is none.",
    fix="Use the prefork pool (worker_pool = 'prefork'), or put timeouts into the tasks themselves.",
    issues=("celery/celery#9203", "celery/celery#5786", "celery/celery#1958"),
)
def limits_not_kept(evidence: Evidence) -> Iterator[Sight]:
    """See limits with a pool that ignores them, in the settings or on a running worker."""
    has = {
        "hard": bool(evidence.settings.seconds("task_time_limit"))
        or any(each.time_limit for each in evidence.tasks),
        "soft": bool(evidence.settings.seconds("task_soft_time_limit"))
        or any(each.soft_time_limit for each in evidence.tasks),
    }
    named = str(evidence.settings.get("worker_pool"))
    pools = [(named, evidence.settings.place("worker_pool"))]
    pools += [
        (worker.pool, Place(f"worker {worker.name}"))
        for worker in evidence.fleet.workers
        if worker.pool != named
    ]
    for pool, place in pools:
        ignored = [kind for kind in _IGNORING.get(pool, ()) if has[kind]]
        if ignored:
            yield Sight(
                place,
                f"The pool {pool} keeps no {' and no '.join(ignored)} time limit, and one is set.",
                change=Change("worker_pool", "prefork") if pool == named else None,
            )


@rule(
    "AC024",
    "A soft limit alone",
    level="info",
    since="every version",
    why="The soft limit is an exception: a task that catches Exception goes on, and one that hangs in C code never "
    "sees it. Only the hard limit ends every task.",
    fix="task_time_limit, a minute above the soft one.",
)
def soft_alone(evidence: Evidence) -> Iterator[Sight]:
    """See a soft limit without a hard one."""
    soft = evidence.settings.seconds("task_soft_time_limit")
    if soft and not evidence.settings.seconds("task_time_limit"):
        yield Sight(
            evidence.settings.place("task_soft_time_limit"),
            f"The soft limit is {soft:g} s, and there is no hard one.",
            fix=f"{evidence.settings.spelled('task_time_limit')} = {soft + 60:g}",
            change=Change("task_time_limit", int(soft + 60)),
        )


@rule(
    "AC025",
    "A memory limit that every process exceeds",
    level="error",
    since="Celery 4.0; counted in units of 1,024 bytes",
    why="worker_max_memory_per_child is counted in KiB, not in MB. A value that was meant in megabytes is below what "
    "an idle process takes, and each process is replaced after each task.",
    fix="Write it in KiB: 200 MB are 200_000.",
    issues=("celery/celery#9553",),
)
def tiny_memory(evidence: Evidence) -> Iterator[Sight]:
    """See a limit below what any process takes."""
    limit = evidence.settings.seconds("worker_max_memory_per_child")
    if limit and limit < _SMALLEST:
        yield Sight(
            evidence.settings.place("worker_max_memory_per_child"),
            f"Processes may have {limit:g} KiB, which is {limit / 1024:.1f} MB.",
            fix=f"{evidence.settings.spelled('worker_max_memory_per_child')} = {int(limit * 1000)}, if MB were meant.",
        )
