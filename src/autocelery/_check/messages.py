"""The messages that wait: whether this code would run them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery._celery import queued, signatures
from autocelery._celery.queues import length_of, names_of_all
from autocelery._celery.unreachable import broker_gone
from autocelery._check.comparing import Compared, Verdict, unknown
from autocelery.errors import SignatureMismatch
from autocelery_host.header import LIVE_TASK
from autocelery_host.shapes import SIGNATURE, read
from autocelery_host.stamping import shape_of_task

#: How many messages of each queue are looked at unless said otherwise.
SAMPLE = 1000
#: Where kombu has the messages for quorum queues that are not due yet; all of them are there, or none.
_DELAYED = tuple(f"celery_delayed_{level}" for level in range(28))
_WORST_FIRST = (Verdict.BREAKS, Verdict.UNKNOWN, Verdict.SAFE)


def compare_queued(app: Celery, queues: Sequence[str] = (), most: int = SAMPLE) -> Iterator[Compared]:
    """Yield, for each task that has messages waiting, whether the code here would run them; live calls bring theirs.

    Args:
        app: as it is here.
        queues: names; by default those that the app consumes and those that its tasks are routed to.
        most: how many messages of each queue are looked at. They are not consumed.

    Raises:
        BrokerUnavailable: the broker cannot be reached.
    """
    judged: dict[str, Counter[tuple[Verdict, str]]] = defaultdict(Counter)
    names = queues or names_of_all(app)
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
            for message in queued.sample(app, connection, names, most):
                if message.headers.get("task") != LIVE_TASK:
                    judged[message.task][_judged(app, message)] += 1
            unseen = list(_unseen(app, connection, names))
    except (OperationalError, OSError) as exc:
        raise broker_gone(app, exc, "no queue can be looked at") from exc
    yield from (_compared(name, judged[name]) for name in sorted(judged))
    yield from unseen


def _compared(name: str, judged: Counter[tuple[Verdict, str]]) -> Compared:
    """Return the worst that is known of a task's messages; that of one nothing can be told is worse than safe."""
    verdict = next(each for each in _WORST_FIRST if any(each is found for found, _ in judged))
    why = tuple(
        f"{count} of {judged.total()} messages: {reason}"
        for (_, reason), count in judged.most_common()
        if reason
    )
    steps = (
        ("Let the workers of the old code finish these first, or give the task a policy or an upgrade.",)
        if verdict is Verdict.BREAKS
        else ()
    )
    return Compared(name or "(no name)", verdict, why, steps)


def _unseen(app: Celery, connection: Any, names: Sequence[str]) -> Iterator[Compared]:
    """Yield the queues whose messages were not looked at."""
    kind = connection.transport.driver_type
    if kind not in ("redis", "amqp"):
        why = f"Messages can be looked at in Redis and in RabbitMQ, and this broker is of the kind {kind}."
        yield unknown("(all queues)", why)
    quorum = [name for name in names if kind == "amqp" and queued.counts_deliveries(app, name)]
    for name in quorum:
        if length_of(connection, name):
            yield unknown(f"(queue {name})", "It is a quorum queue, to which a look is a delivery.")
    if quorum and length_of(connection, _DELAYED[0]) is not None:
        delayed = sum(length_of(connection, name) or 0 for name in _DELAYED)
        if delayed:
            yield unknown("(delayed)", f"Messages that are not due yet are not looked at; {delayed} wait.")


def _judged(app: Celery, message: queued.Queued) -> tuple[Verdict, str]:
    """Return what becomes of a message here, and why; nothing to say of one that is safe."""
    if not message.task:
        return Verdict.UNKNOWN, "no header names a task, as with task_protocol = 1"
    task = app.tasks.get(message.task)
    if task is None:
        return Verdict.BREAKS, "there is no such task here"
    arguments = message.arguments()
    if arguments is None:
        return Verdict.UNKNOWN, f"{message.content_type}, perhaps compressed, which is not read here"
    if shape_of_task(task) is None:
        return Verdict.UNKNOWN, "the task's function does not show its parameters"
    sent = message.headers.get(SIGNATURE)
    try:
        _, wrong = signatures.fitting(task, sent, *arguments)
    except SignatureMismatch as exc:
        return Verdict.BREAKS, exc.message
    if not wrong or signatures.policy_of(task) != signatures.STRICT:
        return Verdict.SAFE, ""
    known = read(sent)
    return Verdict.BREAKS, f"{wrong}, sent for {known}" if known is not None else wrong
