"""Rules on names of tasks, and on the queues that they go to."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping

from packaging.version import Version

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Change, Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.source.module import constant, dotted, keyword
from autocelery._doctor.source.registry import RegisteredTask
from autocelery._doctor.source.sends import message_option

#: How many times longer one task of a queue may take than another.
_RATIO = 60
#: Seconds from which a task holds others up.
_HOLDS_UP = 60
_FIRST_WITH_QUORUM = Version("5.5.dev0")


@rule(
    "AC070",
    "One task under two names",
    level="error",
    since="every version",
    why="The module was imported under two names, proj.tasks and tasks for one. A caller that knows the one name sends "
    "what a worker that knows the other refuses: Received unregistered task.",
    fix="Import it by one path everywhere, or give the task a name=.",
)
def two_names(evidence: Evidence) -> Iterator[Sight]:
    """See one function behind two registered tasks."""
    seen: dict[tuple[str, int], RegisteredTask] = {}
    for task in evidence.tasks:
        if task.code is None:
            continue
        first = seen.setdefault((task.code.co_filename, task.code.co_firstlineno), task)
        if first.path != task.path:  # where it is the same, somebody made two tasks of one function
            yield Sight(task.place, f"The same function is registered as {first.name} and as {task.name}.")


@rule(
    "AC071",
    "Two tasks of one name",
    level="error",
    since="every version; Celery 5.7 warns of those that one process imports",
    why="The registry keeps one of them, whichever was imported first or last. Calls of the other run this one.",
    fix="Give each a name of its own.",
)
def one_name(evidence: Evidence) -> Iterator[Sight]:
    """See two functions with the same ``name=``, in one app."""
    seen: dict[tuple[str, str], Place] = {}
    for module in evidence.source.modules:
        for function in module.functions:
            for each in function.decorator_list:
                if not isinstance(each, ast.Call) or dotted(each.func).rpartition(".")[2] not in (
                    "task",
                    "shared_task",
                ):
                    continue
                name = constant(keyword(each, "name"))
                if not isinstance(name, str):
                    continue
                name_of_app = dotted(each.func)
                imported = name_of_app.partition(".")[0] in module.meanings
                key = (name, module.meaning(each.func) if imported else f"{module.name}.{name_of_app}")
                place = Place(f"task {name}", module.shown, function.lineno)
                if key in seen:
                    yield Sight(place, f"{name} is also the name of {seen[key].file}:{seen[key].line}.")
                seen.setdefault(key, place)


@rule(
    "AC072",
    "A task of __main__",
    level="error",
    since="every version",
    why="The module ran as a script when the task was registered, and its name begins with __main__. A worker that "
    "imports the module knows it by another name.",
    fix="Start it with celery -A module, or give the app or the task a name.",
)
def main_task(evidence: Evidence) -> Iterator[Sight]:
    """See registered names that begin with ``__main__.``."""
    for task in evidence.tasks:
        if task.name.startswith("__main__."):
            yield Sight(task.place, f"{task.name} is known by another name elsewhere.")


@rule(
    "AC073",
    "A route for a task that is not there",
    level="warning",
    since="every version",
    why="The route was written for a name that no task has: its calls go to the default queue, where perhaps nobody "
    "expects them.",
    fix="Correct the name in task_routes.",
)
def idle_route(evidence: Evidence) -> Iterator[Sight]:
    """See names in task_routes that look like a task's and are none."""
    routes = evidence.settings.get("task_routes")
    names = [task.name for task in evidence.tasks]
    for name in routes if isinstance(routes, Mapping) else ():
        text = str(getattr(name, "pattern", name))
        if text in names or any(sign in text for sign in "*?[("):
            continue
        near = difflib.get_close_matches(text, names, 1, 0.8)
        if near:
            yield Sight(
                evidence.settings.place("task_routes"), f"No task is called {text}; there is {near[0]}."
            )


def _routed(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Yield what is routed, and the queue that it is routed to."""
    routes = evidence.settings.get("task_routes")
    for name, route in routes.items() if isinstance(routes, Mapping) else ():
        queue = route.get("queue") if isinstance(route, Mapping) else route
        if queue:
            yield str(getattr(name, "pattern", name)), str(getattr(queue, "name", queue))
    for task in evidence.tasks:
        if getattr(task.task, "queue", None):
            yield task.name, task.queue


@rule(
    "AC074",
    "A queue that is not declared",
    level="error",
    since="every version",
    why="With task_create_missing_queues off, a call that is routed to a queue that task_queues does not have raises "
    "QueueNotFound.",
    fix="Add the queue to task_queues.",
)
def missing_queue(evidence: Evidence) -> Iterator[Sight]:
    """See such routes."""
    if evidence.settings.get("task_create_missing_queues"):
        return
    declared = set(evidence.app.amqp.queues)
    for name, queue in _routed(evidence):
        if queue not in declared:
            yield Sight(
                evidence.settings.place("task_routes"), f"{name} is routed to {queue}, which is not declared."
            )


def _has_dead_letters(evidence: Evidence) -> bool:
    return any(
        "x-dead-letter-exchange" in (queue.queue_arguments or {})
        for queue in evidence.app.amqp.queues.values()
    )


@rule(
    "AC075",
    "No dead letters",
    level="info",
    since="every version with RabbitMQ",
    why="A message that is rejected, by Reject(requeue=False) for one, or that no worker can read, is dropped. With a "
    "dead-letter exchange it goes to a queue where somebody can look at it and send it again.",
    fix="Queue('celery', queue_arguments={'x-dead-letter-exchange': 'dead', 'x-dead-letter-routing-key': 'dead'}) in "
    "task_queues, or a policy of the broker.",
)
def no_dead_letters(evidence: Evidence) -> Iterator[Sight]:
    """See RabbitMQ queues without a dead-letter exchange; worse where the code rejects messages."""
    if evidence.broker.kind != "rabbitmq" or evidence.is_eager or _has_dead_letters(evidence):
        return
    for module, call in evidence.source.calls():
        if module.meaning(call.func) not in ("celery.exceptions.Reject", "celery.Reject"):
            continue
        requeue = keyword(call, "requeue") or (call.args[1] if len(call.args) > 1 else None)
        if requeue is None or constant(requeue) is False:
            place = Place("", module.shown, call.lineno)
            yield Sight(
                place, "What is rejected here is dropped: no queue has dead letters.", level="warning"
            )
            return
    for name in ("task_acks_on_failure_or_timeout", "task_acks_on_failure", "task_acks_on_timeout"):
        if evidence.settings.get(name) is False and evidence.settings.get("task_acks_late"):
            yield Sight(
                evidence.settings.place(name), "What fails is rejected, and dropped.", level="warning"
            )
            return
    yield Sight(evidence.settings.place("task_queues"), "No queue has a dead-letter exchange.")


def _uses_priorities(evidence: Evidence) -> Place | None:
    if evidence.settings.get("task_default_priority") is not None:
        return evidence.settings.place("task_default_priority")
    for task in evidence.tasks:
        if getattr(task.task, "priority", None) is not None:
            return task.place
    for module, call in evidence.source.calls():
        said = message_option(call, "priority")
        if said is not None and not (isinstance(said, ast.Constant) and said.value is None):
            return Place("", module.shown, call.lineno)
    return None


@rule(
    "AC076",
    "Priorities that do nothing",
    level="warning",
    since="every version",
    why="RabbitMQ looks at the priorities of messages only in classic queues that were declared with x-max-priority; "
    "in any other they are taken as they came. The Redis transport needs nothing: it has a list for each step.",
    fix="task_queue_max_priority = 10; a queue that is there already has to be removed first.",
    issues=("celery/celery#5874",),
)
def idle_priorities(evidence: Evidence) -> Iterator[Sight]:
    """See priorities, and a broker that was not told of them."""
    place = _uses_priorities(evidence)
    if place is None or evidence.is_eager or evidence.broker.kind != "rabbitmq" or _is_quorum(evidence):
        return  # quorum queues have two priorities without being asked, since RabbitMQ 4.0
    has = any(
        queue.max_priority or "x-max-priority" in (queue.queue_arguments or {})
        for queue in evidence.app.amqp.queues.values()
    )
    if not has and not evidence.settings.get("task_queue_max_priority"):
        yield Sight(
            place, "No queue has priorities.", change=Change("task_queue_max_priority", 10),
            fix=f"{evidence.settings.spelled('task_queue_max_priority')} = 10",
        )  # fmt: skip


def _is_quorum(evidence: Evidence) -> bool:
    return evidence.settings.get("task_default_queue_type") == "quorum" or any(
        (queue.queue_arguments or {}).get("x-queue-type") == "quorum"
        for queue in evidence.app.amqp.queues.values()
    )


@rule(
    "AC077",
    "Quorum queues with what they do not have",
    level="error",
    since="Celery 5.5",
    why="Quorum queues know neither the global prefetch limit nor x-max-priority. Celery 5.5 notices such queues and "
    "sets limits by consumer, unless worker_detect_quorum_queues is off; then the worker cannot consume at all.",
    fix="Leave worker_detect_quorum_queues on, and use queues of their own instead of priorities.",
)
def quorum_misfit(evidence: Evidence) -> Iterator[Sight]:
    """See quorum queues that are not detected, or have priorities."""
    if evidence.broker.kind != "rabbitmq" or not _is_quorum(evidence):
        return
    if Version(evidence.versions["celery"]) < _FIRST_WITH_QUORUM:
        yield Sight(
            evidence.settings.place("task_default_queue_type"),
            f"Celery {evidence.versions['celery']} cannot consume from quorum queues.",
            fix="pip install 'celery>=5.5'",
        )
    elif not evidence.settings.get("worker_detect_quorum_queues"):
        yield Sight(
            evidence.settings.place("worker_detect_quorum_queues"),
            "Quorum queues are not noticed by the workers.",
            change=Change("worker_detect_quorum_queues", True),
        )
    if evidence.settings.get("task_queue_max_priority"):
        yield Sight(
            evidence.settings.place("task_queue_max_priority"), "Quorum queues refuse x-max-priority."
        )


@rule(
    "AC078",
    "Short and long tasks in one queue",
    level="warning",
    since="every version",
    why="The short ones wait behind the long ones: a mail that takes a second is sent after a report that takes an "
    "hour, as soon as all processes have a report.",
    fix="A queue and a worker of their own for the long ones: task_routes = {'proj.tasks.report': {'queue': 'long'}}.",
)
def short_behind_long(evidence: Evidence) -> Iterator[Sight]:
    """See tasks of one queue with very different limits of their own, or measured durations."""
    by_queue: dict[str, dict[str, float]] = {}
    for task in evidence.tasks:
        seconds = _expected(evidence, task)
        if seconds:
            by_queue.setdefault(task.queue, {})[task.name] = seconds
    for queue, tasks in by_queue.items():
        short, long = min(tasks, key=lambda name: tasks[name]), max(tasks, key=lambda name: tasks[name])
        if tasks[long] >= _RATIO * tasks[short] and tasks[long] >= _HOLDS_UP:
            yield Sight(
                Place(f"queue {queue}"),
                f"{long} takes up to {tasks[long]:g} s, {short} {tasks[short]:g} s, and both go there.",
            )


def _expected(evidence: Evidence, task: RegisteredTask) -> float | None:
    """Return how long a task takes: as measured, else by the limit that it has itself."""
    measured = evidence.fleet.durations.get(task.name)
    if measured:
        return max(round(max(measured), 1), 0.1)
    return task.own_limit
