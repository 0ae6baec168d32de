"""Rules on when a message is acknowledged, and when it is delivered again."""

from __future__ import annotations

from collections.abc import Iterator

from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Change, Place, Sight
from autocelery._doctor.rule import rule
from autocelery._doctor.source.delays import delays_in, sleeps_in
from autocelery._doctor.source.registry import RegisteredTask

#: Seconds after which a broker delivers again what was not acknowledged, where nothing else is set.
_VISIBILITY = {"redis": 3600.0, "sqs": 1800.0}
#: Seconds after which RabbitMQ closes the channel of a consumer that does not acknowledge.
_CONSUMER_TIMEOUT = 1800
#: Seconds from which a task is a long one.
_LONG = 600
_LONG_SLEEP = 60


def visibility_timeout(evidence: Evidence) -> float | None:
    """Return the seconds after which the broker delivers again; ``None`` for one that does not go by time."""
    default = _VISIBILITY.get(evidence.broker.kind)
    if default is None or evidence.is_eager:
        return None
    said = evidence.settings.options("broker_transport_options").get("visibility_timeout")
    return float(said) if isinstance(said, int | float) and not isinstance(said, bool) else default


def _raised(seconds: float) -> Change:
    """Return the mend for what takes that long; other options may be an environment's, so it does not repeat them."""
    return Change("broker_transport_options", {"visibility_timeout": int(2 * seconds)}, adds=True)


def _late(evidence: Evidence) -> list[RegisteredTask]:
    return [task for task in evidence.tasks if task.acks_late]


def _where_late(evidence: Evidence, late: list[RegisteredTask]) -> Place:
    """Return where late acknowledgement is asked for: the app's setting, or else the first task that does."""
    if evidence.settings.get("task_acks_late") or not late:
        return evidence.settings.place("task_acks_late")
    return late[0].place


@rule(
    "AC010",
    "Late acknowledgement without a fitting visibility timeout",
    level="warning",
    since="every version with Redis or SQS",
    why="With acks_late a message is acknowledged when its task has ended. Redis and SQS give a message to another "
    "worker when it was not acknowledged within the visibility timeout, an hour on Redis: a task that takes longer "
    "runs twice at the same time, then three times.",
    fix="Keep task_time_limit well below broker_transport_options['visibility_timeout'].",
    issues=("celery/celery#5306", "celery/celery#6229"),
)
def late_and_invisible(evidence: Evidence) -> Iterator[Sight]:
    """See late tasks that may run longer than the broker waits, or without an end."""
    timeout, late, settings = visibility_timeout(evidence), _late(evidence), evidence.settings
    if timeout is None or not (late or settings.get("task_acks_late")):
        return
    limits = [task.time_limit or task.soft_time_limit for task in late]
    limits = limits or [settings.seconds("task_time_limit") or settings.seconds("task_soft_time_limit")]
    longest = max([each for each in limits if each is not None], default=None)
    if longest is not None and longest >= timeout:
        change = _raised(longest)
        yield Sight(
            settings.place("broker_transport_options"),
            f"Late tasks may run {longest:g} s, and after {timeout:g} s the broker gives them to another worker.",
            fix=change.told(settings.spelled(change.setting)),
            level="error",
            change=change,
        )
    elif None in limits:
        limit = int(timeout / 2)
        yield Sight(
            _where_late(evidence, late),
            f"Late tasks have no time limit, and after {timeout:g} s the broker gives them to another worker.",
            fix=f"{settings.spelled('task_time_limit')} = {limit}",
            change=Change("task_time_limit", limit) if settings.get("task_acks_late") else None,
        )


@rule(
    "AC011",
    "A delay that is longer than the visibility timeout",
    level="warning",
    since="every version with Redis or SQS",
    why="A worker takes a message with a countdown or an ETA at once and holds it, unacknowledged, until it is due. "
    "When the visibility timeout is over the broker gives it to another worker too, and the task runs twice.",
    fix="Raise broker_transport_options['visibility_timeout'] above the longest delay, or schedule it with beat.",
    issues=("celery/kombu#337", "celery/celery#2481", "celery/celery#5935"),
)
def delayed_and_invisible(evidence: Evidence) -> Iterator[Sight]:
    """See countdowns, ETAs and retry delays that the code states, above the timeout."""
    timeout = visibility_timeout(evidence)
    for each in delays_in(evidence.source, evidence.tasks) if timeout is not None else ():
        if each.seconds > (timeout or 0.0):
            change = _raised(each.seconds)
            yield Sight(
                each.place,
                f"A delay of {each.seconds:g} s, and after {timeout:g} s the broker delivers again.",
                fix=change.told(evidence.settings.spelled(change.setting)),
                change=change,
            )


def _long_tasks(evidence: Evidence) -> list[RegisteredTask]:
    """Return the tasks that are seen to be long: by a limit of their own, or by how they sleep."""
    found = []
    for task in evidence.tasks:
        sleeps = any(each.seconds >= _LONG_SLEEP for each in sleeps_in(task))
        if sleeps or (task.own_limit or 0) >= _LONG:
            found.append(task)
    return found


@rule(
    "AC012",
    "Prefetched tasks wait behind a running one",
    level="info",
    since="every version",
    why="A worker reserves worker_prefetch_multiplier messages for each of its processes, 4 unless told otherwise. "
    "Those wait behind whatever runs there, while other workers have nothing to do. With acks_late and a multiplier "
    "of 1 a process reserves the task that it runs and no other; without acks_late what runs is acknowledged "
    "already, and with a multiplier of 1 one more waits behind it.",
    fix="worker_prefetch_multiplier = 1, together with task_acks_late = True for tasks that may run twice.",
    issues=("celery/celery#4537", "celery/celery#6500", "celery/celery#9279"),
)
def prefetch_starves(evidence: Evidence) -> Iterator[Sight]:
    """See a multiplier above 1 with late or long tasks, and one of 0."""
    settings = evidence.settings
    multiplier = settings.seconds("worker_prefetch_multiplier")
    if multiplier is None or settings.get("worker_disable_prefetch") or multiplier == 1:
        return
    place, change = settings.place("worker_prefetch_multiplier"), Change("worker_prefetch_multiplier", 1)
    fix = f"{settings.spelled('worker_prefetch_multiplier')} = 1"
    if multiplier == 0:
        message = "A multiplier of 0 has no bound: one worker takes the whole queue into its memory."
        yield Sight(place, message, fix=fix, level="warning", change=change)
        return
    long = _long_tasks(evidence)
    if long:
        message = f"{multiplier:g} messages a process are reserved, and {long[0].name} is a long task."
        yield Sight(place, message, fix=fix, level="warning", change=change)
    elif _late(evidence) or settings.get("task_acks_late"):
        message = f"Late tasks, and {multiplier:g} messages a process are reserved instead of 1."
        yield Sight(place, message, fix=fix, change=change)


@rule(
    "AC013",
    "A prefetch multiplier of 1 that still reserves one",
    level="info",
    since="every version",
    why="Without acks_late a message is acknowledged when its task starts, so that the broker delivers the next one "
    "while it runs. That one waits behind the running task even if another worker is free. A multiplier of 1 means "
    "one task a process only together with acks_late.",
    fix="task_acks_late = True for tasks that may run twice, or worker_disable_prefetch = True on Redis (Celery 5.6).",
    issues=("celery/celery#9279", "celery/celery#2788"),
)
def one_still_waits(evidence: Evidence) -> Iterator[Sight]:
    """See a multiplier of 1 and long tasks that are acknowledged early."""
    if evidence.settings.seconds("worker_prefetch_multiplier") != 1:
        return
    early = [task for task in _long_tasks(evidence) if not task.acks_late]
    if early and not evidence.settings.get("worker_disable_prefetch"):
        yield Sight(early[0].place, f"One more task waits behind {early[0].name} while it runs.")


@rule(
    "AC014",
    "A late task that is not run again when its process is killed",
    level="info",
    since="Celery 4.0",
    why="acks_late covers a worker that dies as a whole. When only the process of the task is killed, by the kernel "
    "for memory for one, the worker acknowledges the message all the same and the task is marked as failed.",
    fix="task_reject_on_worker_lost = True, if a task that kills its process again and again can be told and stopped.",
    issues=("celery/celery#3541",),
)
def late_but_lost(evidence: Evidence) -> Iterator[Sight]:
    """See acks_late without reject_on_worker_lost."""
    late = [task for task in _late(evidence) if not task.task.reject_on_worker_lost]
    if late and not evidence.settings.get("task_reject_on_worker_lost"):
        message = f"{late[0].name} is acknowledged late, and lost with its process."
        yield Sight(_where_late(evidence, late), message, change=Change("task_reject_on_worker_lost", True))


@rule(
    "AC015",
    "reject_on_worker_lost without acks_late",
    level="warning",
    since="Celery 4.0",
    why="The message was acknowledged before the task began, so there is nothing left to reject. The setting does "
    "nothing, and a task whose process is killed is lost.",
    fix="task_acks_late = True beside it, for tasks that may run twice.",
)
def nothing_to_reject(evidence: Evidence) -> Iterator[Sight]:
    """See the one without the other, in the settings or on a task."""
    if evidence.settings.get("task_reject_on_worker_lost") and not evidence.settings.get("task_acks_late"):
        if not _late(evidence):
            yield Sight(
                evidence.settings.place("task_reject_on_worker_lost"),
                "No task is acknowledged late, so that none is rejected.",
                fix=f"{evidence.settings.spelled('task_acks_late')} = True",
                change=Change("task_acks_late", True),
            )
        return
    for task in evidence.tasks:
        if task.task.reject_on_worker_lost and not task.acks_late:
            yield Sight(
                task.place, f"{task.name} is not acknowledged late.", fix="acks_late=True in its decorator"
            )


@rule(
    "AC016",
    "Longer than RabbitMQ waits for an acknowledgement",
    level="warning",
    since="RabbitMQ 3.8.15; 30 minutes since 3.8.17",
    why="RabbitMQ closes the channel of a consumer that has not acknowledged a message within its consumer_timeout, "
    "30 minutes unless set. The worker loses its connection, and everything that it holds is delivered again. Late "
    "tasks and messages with an ETA stay unacknowledged for as long as they take.",
    fix="Raise consumer_timeout in rabbitmq.conf above the longest, or keep tasks and delays shorter.",
    issues=("celery/celery#6760", "apache/airflow#15799"),
)
def slower_than_rabbitmq(evidence: Evidence) -> Iterator[Sight]:
    """See late tasks with limits, and delays in the code, above 30 minutes."""
    if evidence.broker.kind != "rabbitmq" or evidence.is_eager:
        return
    for task in _late(evidence):
        if task.time_limit is not None and task.time_limit > _CONSUMER_TIMEOUT:
            yield Sight(task.place, f"{task.name} is acknowledged late, and may run {task.time_limit:g} s.")
    if evidence.settings.get("task_default_queue_type") == "quorum":
        return  # there delays wait in the broker
    if any(
        "x-consumer-timeout" in (each.queue_arguments or {}) for each in evidence.app.amqp.queues.values()
    ):
        return
    for each in delays_in(evidence.source, evidence.tasks):
        if each.seconds > _CONSUMER_TIMEOUT:
            yield Sight(each.place, f"A worker holds the message for {each.seconds:g} s.")


@rule(
    "AC017",
    "Late tasks that go on when the connection is lost",
    level="info",
    since="Celery 5.1",
    why="When the worker loses its connection the broker gives its unacknowledged tasks to other workers, and here "
    "they go on running: each runs twice at the same time.",
    fix="worker_cancel_long_running_tasks_on_connection_loss = True",
)
def runs_on(evidence: Evidence) -> Iterator[Sight]:
    """See acks_late without the cancelling."""
    name = "worker_cancel_long_running_tasks_on_connection_loss"
    late = _late(evidence)
    if late and not evidence.settings.get(name):
        yield Sight(
            _where_late(evidence, late),
            "Late tasks go on beside their second run.",
            change=Change(name, True),
        )


@rule(
    "AC018",
    "Messages that do not outlive the broker",
    level="warning",
    since="every version with RabbitMQ",
    why="Messages of delivery mode 1 are kept in memory: a restart of the broker loses everything that is queued.",
    fix="Leave task_default_delivery_mode at 2 (persistent).",
)
def transient(evidence: Evidence) -> Iterator[Sight]:
    """See transient delivery."""
    is_transient = evidence.settings.get("task_default_delivery_mode") in (1, "1", "transient")
    if is_transient and evidence.broker.kind == "rabbitmq":
        yield Sight(
            evidence.settings.place("task_default_delivery_mode"),
            "Queued messages are lost when the broker restarts.",
            change=Change("task_default_delivery_mode", 2),
        )
