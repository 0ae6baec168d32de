"""Sending recorded ticks to the broker, and writing down that they were sent."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from celery import Celery
from kombu.common import ignore_errors
from kombu.exceptions import OperationalError

from autocelery._beat import encoding
from autocelery._beat.definition import Definition
from autocelery._beat.store import FAILED, SENT, BeatStore, Tick
from autocelery._beat.tenure import Tenure
from autocelery._celery.sending_once import LeaseOver, can_prove, forget, proving

logger = logging.getLogger(__name__)

#: The header that says which tick a message is: entry, moment, and whether an instance may have sent it before.
HEADER = "autocelery_beat"
_BATCH = 50
_LONGEST_ERROR = 500


def call_of(definition: Definition) -> str:
    """Return what a tick of this entry sends, as it is recorded with it."""
    told = {
        "task": definition.task,
        "args": definition.args,
        "kwargs": definition.kwargs,
        "options": definition.options,
        "overlap": definition.overlap,
    }
    return encoding.dumps(told)


def publish(app: Celery, tick: Tick, is_repeat: bool = False, **options: Any) -> None:
    """Send the call of a tick, under its id and with the header that says which tick it is.

    Args:
        app: whose task is sent; one that it does not know is sent by its name.
        tick: with its ``call``.
        is_repeat: whether it may have been sent before.
        **options: of ``apply_async``, beside those of the entry.
    """
    told = encoding.loads(tick.call or "{}")
    mark = {"entry": tick.key, "tick": tick.tick.isoformat(), "repeat": is_repeat}
    headers = {**(told["options"].get("headers") or {}), "celery_beat_task": True, HEADER: mark}
    every = {**told["options"], "task_id": tick.task_id, **options, "headers": headers}
    task = app.tasks.get(told["task"])
    if task is None:
        app.send_task(told["task"], tuple(told["args"]), told["kwargs"], **every)
        return
    task.apply_async(tuple(told["args"]), told["kwargs"], **every)


class Broker:
    """A connection to the broker for sending. Owns it; each message is confirmed where the broker can.

    Args:
        app: whose broker.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._made: Any = None

    def producer(self) -> Any:
        """Return a producer on a connection that is there; what its transport raises where there is none."""
        if self._made is None:
            connection = self._app.connection_for_write()
            if connection.transport.driver_type == "amqp":
                connection.transport_options["confirm_publish"] = True
            self._connection = connection
            connection.ensure_connection(max_retries=1, interval_start=0)
            self._made = self._app.amqp.Producer(connection, auto_declare=False)
            self._made.channel  # noqa: B018 - Redis is asked only when there is a channel
        return self._made

    def drop(self) -> None:
        """Close the connection; the next message is sent on another."""
        connection, self._connection, self._made = self._connection, None, None
        if connection is not None:
            ignore_errors(connection, connection.release)  # type: ignore[no-untyped-call]

    def errors(self) -> tuple[type[BaseException], ...]:
        """What is raised where the broker cannot be reached."""
        known = self._connection or self._app.connection_for_write()
        return (OperationalError, OSError, *known.connection_errors, *known.channel_errors)


class Sender:
    """Sends ticks.

    Args:
        app: whose tasks are sent.
        store: where ticks are recorded.
        tenure: says whether this instance may send.
        broker: where they are sent.
    """

    def __init__(self, app: Celery, store: BeatStore, tenure: Tenure, broker: Broker) -> None:
        self._app = app
        self._store = store
        self._tenure = tenure
        self._broker = broker
        #: What was sent, or refused, and is not written down yet: the database was not there to hear of it.
        self._unsettled: dict[str, Tick] = {}
        #: What the broker may have, though it did not say so.
        self._in_doubt: set[str] = set()

    def is_ready(self) -> bool:
        """Whether the broker can be reached; without it no tick is recorded, so that the rules for missed ones hold."""
        try:
            self._broker.producer()
        except self._broker.errors() as error:
            logger.error("beat: the broker cannot be reached (%s); trying again.", error)
            self._broker.drop()
            return False
        return True

    def settle(self) -> None:
        """Write down what became of what was sent.

        Raises:
            BeatDatabaseUnavailable: the database did not hear of it; the next call tells it again.
        """
        if not self._unsettled:
            return
        settled = dict(self._unsettled)
        self._store.settle(settled.values())
        for each in settled:
            self._unsettled.pop(each, None)
        self._forget([each for each in settled if settled[each].state == SENT])

    def send(self, ticks: Sequence[Tick], is_repeat: bool = False) -> bool:
        """Send ticks that are recorded; whether all were sent, or refused for good.

        Args:
            ticks: of the outbox.
            is_repeat: another instance may have sent them and died before it could say so.
        """
        waiting = [each for each in ticks if each.task_id not in self._unsettled]
        for begin in range(0, len(waiting), _BATCH):
            if not self._tenure.hold():
                return False
            with _signals_held():
                done = self._send_batch(waiting[begin : begin + _BATCH], is_repeat)
                self.settle()
            if not done:
                return False
        return True

    def _send_batch(self, ticks: Sequence[Tick], is_repeat: bool) -> bool:
        try:
            producer = self._broker.producer()
            channel = producer.channel
            proves = proving(channel, lambda: self._tenure.is_sure) if can_prove(channel) else nullcontext()
            with proves:
                for each in ticks:
                    if not self._tenure.is_sure:
                        raise LeaseOver
                    repeats = is_repeat or each.task_id in self._in_doubt
                    self._in_doubt.add(each.task_id)
                    self._unsettled[each.task_id] = self._sent(each, producer, repeats)
                    self._in_doubt.discard(each.task_id)
        except LeaseOver:
            return False  # too slow, or frozen: the next beat asks whose the lease is
        except self._broker.errors() as error:
            logger.error("beat: cannot send to the broker (%s); trying again.", error)
            self._broker.drop()
            return False
        return True

    def _sent(self, tick: Tick, producer: Any, is_repeat: bool) -> Tick:
        """Send one tick and return it with what became of it; what the broker has to do with is raised."""
        try:
            publish(self._app, tick, is_repeat, producer=producer, retry=False)
        except LeaseOver:
            raise
        except self._broker.errors():
            raise
        except Exception as error:  # noqa: BLE001 - a task's own apply_async may raise anything, and the others go on
            shown = f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]
            logger.error("beat: entry %r: %s was not sent: %s", tick.key, tick.task_id, shown)
            return replace(tick, state=FAILED, error=shown)
        logger.info("beat: sent %s (%s), tick %s", tick.key, tick.task_id, tick.tick.isoformat())
        return replace(tick, state=SENT)

    def _forget(self, task_ids: list[str]) -> None:
        try:
            channel = self._broker.producer().channel
            if can_prove(channel):
                forget(channel, task_ids)
        except self._broker.errors() as error:
            logger.debug("beat: proofs stay for a day: %s", error)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let a request to stop wait until it is written down what was sent; else somebody might send it again."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
