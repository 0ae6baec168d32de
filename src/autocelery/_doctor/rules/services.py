"""Rules on what runs: the Redis that is the broker, its queues, and the workers."""

from __future__ import annotations

from collections.abc import Iterator

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.services.workers import Worker

#: Settings that have to be the same here and on the workers.
_SHARED = (
    "task_serializer",
    "accept_content",
    "result_serializer",
    "task_default_queue",
    "timezone",
    "enable_utc",
    "task_time_limit",
    "task_acks_late",
    "worker_prefetch_multiplier",
)


@rule(
    "AC100",
    "A Redis that evicts messages",
    level="error",
    since="every version with Redis",
    why="When its memory is full, a Redis with an allkeys policy removes any key: a queue with everything in it, or "
    "the list of what workers hold. Nobody notices. With a volatile policy it removes results that are waited for.",
    fix="CONFIG SET maxmemory-policy noeviction, in redis.conf too; a cache gets a Redis of its own.",
    issues=("sibson/redbeat#291",),
)
def evicts(evidence: Evidence) -> Iterator[Sight]:
    """See an eviction policy other than noeviction."""
    redis = evidence.broker_view.redis if evidence.broker_view else None
    if redis is None or redis.eviction in ("", "noeviction"):
        return
    limit = f"at {redis.maxmemory:,} bytes" if redis.maxmemory else "as soon as maxmemory is set"
    takes_all = redis.eviction.startswith("allkeys")
    what = "queues" if takes_all else "results"
    level = "error" if takes_all and redis.maxmemory else "warning"
    yield Sight(
        Place("broker"),
        f"{evidence.broker.shown} has the policy {redis.eviction}, and removes {what} {limit}.",
        level="error" if level == "error" else "warning",
    )


@rule(
    "AC101",
    "A shared Redis without a prefix",
    level="warning",
    since="global_keyprefix came with kombu 5.1 and Celery 5.1",
    why="Queues and results lie among keys of others. Another project with the same queue name takes these messages, "
    "and who empties the cache with FLUSHDB empties the queues.",
    fix="broker_transport_options = {'global_keyprefix': 'proj:'}, the same in result_backend_transport_options; or a "
    "database of its own, redis://host/3.",
)
def shared_without_prefix(evidence: Evidence) -> Iterator[Sight]:
    """See keys of others in the broker's database, and no prefix."""
    redis = evidence.broker_view.redis if evidence.broker_view else None
    options = evidence.settings.options("broker_transport_options")
    if redis is not None and redis.strangers and not options.get("global_keyprefix"):
        yield Sight(
            evidence.settings.place("broker_transport_options"),
            f"{evidence.broker.shown} also holds {', '.join(redis.strangers[:3])}, and the app has no prefix.",
        )


@rule(
    "AC102",
    "A Redis that forgets",
    level="warning",
    since="every version with Redis",
    why="Neither snapshots nor the append-only file are on: when Redis restarts all queued messages are lost, and "
    "those that workers hold too.",
    fix="appendonly yes in redis.conf, and CONFIG SET appendonly yes now.",
)
def forgets(evidence: Evidence) -> Iterator[Sight]:
    """See a Redis that writes nothing to disk."""
    redis = evidence.broker_view.redis if evidence.broker_view else None
    if redis is not None and redis.is_kept is False:
        yield Sight(Place("broker"), f"{evidence.broker.shown} writes nothing to disk.")


@rule(
    "AC103",
    "Messages that nobody takes",
    level="warning",
    since="every version",
    why="The queue has messages and no worker listens to it. They wait until somebody notices, or expire.",
    fix="Start a worker with -Q QUEUE, or correct the route.",
)
def waiting_messages(evidence: Evidence) -> Iterator[Sight]:
    """See queues with messages and without a consumer."""
    view = evidence.broker_view
    for queue in view.queues if view is not None else ():
        is_taken = queue.consumers > 0 if queue.consumers is not None else queue.name in evidence.fleet.queues
        if queue.messages and not is_taken:
            count = f"{queue.messages} message{'' if queue.messages == 1 else 's'}"
            yield Sight(Place(f"queue {queue.name}"), f"{count} and no worker that listens.")


@rule(
    "AC104",
    "A queue that no worker listens to",
    level="error",
    since="every version",
    why="Calls of the task go to a queue that none of the running workers takes from: they stay there, while workers "
    "are free.",
    fix="Start a worker with -Q QUEUE, or route the task to a queue that has one.",
)
def queue_without_worker(evidence: Evidence) -> Iterator[Sight]:
    """See tasks whose queue none of the workers that answered has."""
    if not evidence.fleet.workers:
        return
    by_queue: dict[str, list[str]] = {}
    for task in evidence.tasks:
        by_queue.setdefault(task.queue, []).append(task.name)
    for queue, tasks in by_queue.items():
        if queue not in evidence.fleet.queues:
            more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
            yield Sight(Place(f"queue {queue}"), f"{tasks[0]}{more} go there, and no worker listens.")


@rule(
    "AC105",
    "A worker that does not know a task",
    level="error",
    since="every version",
    why="The worker listens to the task's queue and does not have it: it refuses the message as unregistered, and "
    "drops it. Most often it runs older code.",
    fix="Deploy and restart the worker, or import the task's module there (include=[...]).",
)
def unknown_to_worker(evidence: Evidence) -> Iterator[Sight]:
    """See workers that lack a task of a queue that they take from."""
    for worker in evidence.fleet.workers:
        if not worker.tasks:
            continue
        lacking = [
            task.name
            for task in evidence.tasks
            if task.queue in worker.queues and task.name not in worker.tasks
        ]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            yield Sight(
                Place(f"worker {worker.name}"),
                f"It does not have {lacking[0]}{more}, and listens to its queue.",
            )


@rule(
    "AC106",
    "Workers of several versions",
    level="warning",
    since="every version",
    why="What one version writes into a message another may not read: headers of canvas, stamps, priorities. What "
    "fails depends on which worker took the message.",
    fix="Install the same Celery everywhere; pin it in the lock file.",
)
def several_versions(evidence: Evidence) -> Iterator[Sight]:
    """See workers with another minor version of Celery than here, or than each other."""
    here = _minor(evidence.versions.get("celery", ""))
    for worker in evidence.fleet.workers:
        there = _minor(worker.versions.get("celery", ""))
        if there and there != here:
            yield Sight(Place(f"worker {worker.name}"), f"It runs Celery {there}, and here is {here}.")


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@rule(
    "AC107",
    "Two workers of one name",
    level="error",
    since="every version",
    why="Remote control, revoking and monitors tell workers by their names. With two of one name a command reaches "
    "both, and what one says is taken for the other's.",
    fix="celery worker -n NAME@%h, with another NAME for each.",
)
def one_name_twice(evidence: Evidence) -> Iterator[Sight]:
    """See names that answer more than once."""
    for name in evidence.fleet.twice:
        yield Sight(Place(f"worker {name}"), "Several workers answer to this name.")


@rule(
    "AC108",
    "A worker with other settings",
    level="warning",
    since="every version",
    why="The worker was started with other settings than are here: it refuses what is sent from here, or keeps other "
    "limits than this code says. Most often it was not restarted.",
    fix="Restart the worker with this code and this environment.",
)
def other_settings(evidence: Evidence) -> Iterator[Sight]:
    """See settings that differ where they must not."""
    for worker in evidence.fleet.workers:
        different = list(_differences(evidence, worker))
        if different:
            yield Sight(Place(f"worker {worker.name}"), f"Other settings than here: {'; '.join(different)}.")


def _differences(evidence: Evidence, worker: Worker) -> Iterator[str]:
    for name in _SHARED:
        spelled = evidence.settings.spelled(name)
        if spelled not in worker.settings and name not in worker.settings:
            continue  # it only says what is not the default
        there = worker.settings.get(spelled, worker.settings.get(name))
        here = evidence.settings.get(name)
        here = list(here) if isinstance(here, tuple | set) else here
        if there != here and str(there) != str(here):
            yield f"{name} is {there!r} there and {here!r} here"


@rule(
    "AC109",
    "No worker answers",
    level="info",
    since="every version",
    why="The broker is there and no worker is, or none answers in time: what is sent waits. What the doctor knows of "
    "workers it could not look at.",
    fix="Start a worker; with workers that poll, --timeout 5.",
)
def nobody_answers(evidence: Evidence) -> Iterator[Sight]:
    """See a broker without workers."""
    view = evidence.broker_view
    if view is not None and not view.problem and not evidence.fleet.workers:
        yield Sight(Place("workers"), f"No worker answered within {evidence.timeout:g} s.")
