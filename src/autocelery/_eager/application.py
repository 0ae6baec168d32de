"""`make_eager`: a Celery app whose calls run in the calling process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import Celery, _state
from celery.app.amqp import AMQP
from celery.utils.time import maybe_iso8601, maybe_make_aware

from autocelery._eager import reconnecting
from autocelery._eager.line import Clock, Line
from autocelery._eager.results import with_eager_results
from autocelery._eager.running import Runner
from autocelery._eager.shipping import OWN_CODE, EagerShipper
from autocelery._eager.transport import transport_for
from autocelery.errors import BrokerNotConfigured, EagerRunaway
from autocelery_host import attachments, current_snapshot

logger = logging.getLogger("autocelery.eager")

#: How many calls, each sent by the one before, run before it is held for a task that sends itself for ever.
MOST_STEPS = 10_000


class Eager:
    """Runs the calls of ``app`` in the thread that sends them, before ``delay`` returns. Safe for threads.

    What a task sends runs when that task has ended. Owned by the app, as ``app.autocelery_eager``.
    """

    def __init__(self, app: Celery, in_memory: bool = False) -> None:
        self.app = app
        self._in_memory = in_memory
        self.clock: Clock = getattr(app, "autocelery_clock", None) or Clock()
        app.autocelery_clock = self.clock
        self.line = Line(self.clock)
        self.shipper = EagerShipper(app)
        self._runner = Runner(app, self.shipper)
        self._here = threading.local()
        self._running = 0
        self._undo = ExitStack()
        self._changed = threading.Condition()

    def start(self) -> None:
        """Have the app's calls come here."""
        app = self.app
        attachments.install(app)
        reconnecting.mix_into_messages(app, EagerMessages)
        transport, adapt = transport_for(self.take), partial(with_eager_results, eager=self)
        connection = reconnecting.through(app, transport)
        self._undo.callback(reconnecting.forget, transport)
        self._undo.callback(reconnecting.connect(app, connection, self._in_memory, adapt))
        sending = app.send_task  # somebody may have put one of their own there

        def send_task(*args: Any, **kwargs: Any) -> Any:
            result = sending(*args, **kwargs)
            self.sent()
            return result

        self._undo.callback(_replaced(app, "send_task", send_task))
        will_block = _state.task_join_will_block()
        self._undo.callback(_state._set_task_join_will_block, will_block)
        _state._set_task_join_will_block(_WillBlock(will_block, self))
        app.autocelery_eager = self

    def stop(self) -> None:
        """Have the app send its calls where it did before; what still waits is forgotten."""
        del self.app.autocelery_eager
        self._undo.close()

    def take(self, raw: dict[str, Any]) -> None:
        """Put a message that was published in line."""
        headers = raw["headers"]
        name = headers.get("shadow") or headers["task"]
        self.line.put(name, raw, _moment(headers.get("eta")), getattr(self._here, "step", 0) + 1)

    def is_running_here(self) -> bool:
        """Whether this thread runs a task."""
        return getattr(self._here, "depth", 0) > 0

    def live_snapshot(self) -> str | None:
        """Return what stands for a snapshot where this thread runs a live call."""
        return getattr(self._here, "snapshot", None)

    def sent(self) -> None:
        """Run what was sent, unless a task has sent it: then it has its turn when that has ended."""
        if not self.is_running_here():
            self.run_due()

    def run_due(self) -> None:
        """Run everything in line that is due, and what comes of it.

        Raises:
            EagerRunaway: each run sends another one, and it does not end.
        """
        while (waiting := self.line.take()) is not None:
            if waiting.step > MOST_STEPS:
                self.line.clear()
                raise EagerRunaway(
                    f"{waiting.name} is the {MOST_STEPS:,}th call in a row that a task has sent, and without a broker "
                    "each runs at once, whatever its countdown. Does it send or retry itself for ever? Give it an "
                    "end (max_retries), or set CELERY_BROKER_URL and start a worker."
                )
            with self._turn(waiting.raw, waiting.due, waiting.step):
                is_put_back = self._runner.run(waiting.raw, self.clock.now())
            if is_put_back:
                self.line.put(waiting.name, waiting.raw, None, waiting.step + 1)

    def move(self, by: timedelta) -> None:
        """Move a held clock forward, stopping at each call that becomes due on the way to run it."""
        end = self.clock.now() + by
        while any(each.due <= end for each in self.line.waiting()):
            self.clock.hold(max(self.clock.now(), self.line.waiting()[0].due))
            self.run_due()
        self.clock.hold(end)

    def wait_for_other_threads(self) -> None:
        """Wait until no other thread runs a call."""
        mine = 1 if self.is_running_here() else 0
        with self._changed:
            self._changed.wait_for(lambda: self._running <= mine)

    @contextmanager
    def _turn(self, raw: dict[str, Any], due: datetime, step: int) -> Iterator[None]:
        here = self._here
        before = (getattr(here, "depth", 0), getattr(here, "step", 0), getattr(here, "snapshot", None))
        header = raw["headers"].get("autocelery")
        here.depth, here.step = before[0] + 1, step
        here.snapshot = (header or {}).get("snapshot", OWN_CODE) if header else None
        jumped = self.clock.jump(due)
        if before[0] == 0:
            self._count(1)
        try:
            yield
        finally:
            here.depth, here.step, here.snapshot = before
            self.clock.jump(jumped)
            if before[0] == 0:
                self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._running += change
            self._changed.notify_all()


class EagerMessages(AMQP):
    """Celery's AMQP by the clock of the app, where it has one: mixed into the class of the app's own."""

    def as_task_v2(self, *args: Any, **kwargs: Any) -> Any:
        """Return the message of a task, whose countdown counts from the time that it is for who sends it."""
        clock: Clock | None = getattr(self.app, "autocelery_clock", None)
        if clock is not None:
            kwargs.setdefault("now", clock.now())
        return super().as_task_v2(*args, **kwargs)


class _WillBlock:
    """Celery's flag that a task must not wait for another one: true in a thread that runs a task eagerly."""

    def __init__(self, before: Any, eager: Eager) -> None:
        self._before = before
        self._eager = eager

    def __bool__(self) -> bool:
        return bool(self._before) or self._eager.is_running_here()


def _replaced(app: Celery, name: str, value: Any) -> Callable[[], None]:
    """Set an attribute of ``app`` itself; return what puts back what was there."""
    before = {name: app.__dict__[name]} if name in app.__dict__ else {}
    app.__dict__[name] = value

    def undo() -> None:
        del app.__dict__[name]
        app.__dict__.update(before)

    return undo


def _moment(eta: Any) -> datetime | None:
    return maybe_make_aware(maybe_iso8601(eta)) if eta is not None else None


def make_eager(app: Celery, announce: bool = True, in_memory: bool = False) -> Eager:
    """Have the calls of ``app`` run in the calling process, at once, with the semantics of messages.

    A second time changes nothing. An app that stores results keeps where it
    does; one without keeps the last 5,000 in memory.

    Args:
        app: any app, before or after its tasks are defined and ``Autocelery`` is added.
        announce: say so in the log (``autocelery.eager``, a warning).
        in_memory: keep results in memory, wherever the app's settings say.
    """
    existing: Eager | None = getattr(app, "autocelery_eager", None)
    if existing is not None:
        return existing
    eager = Eager(app, in_memory)
    eager.start()
    if announce:
        logger.warning(
            "No broker: tasks of %s run in this process, at once. Set CELERY_BROKER_URL=redis://... for workers.",
            app.main or "the app",
        )
    return eager


def make_eager_without_broker(app: Celery, debug: bool) -> Eager | None:
    """Make ``app`` eager where no broker is configured.

    Args:
        app: the app; its settings are read.
        debug: whether this is a machine for development, or a test.

    Raises:
        BrokerNotConfigured: there is none, and this is neither.
    """
    if app.conf.broker_url or app.conf.broker_write_url or current_snapshot() is not None:
        return None  # a host has its worker's
    if not debug:
        raise BrokerNotConfigured(
            "No broker is configured, and this is neither a test nor a machine for development (DEBUG): tasks would "
            "run in the process that calls them. Set CELERY_BROKER_URL, for instance to redis://localhost:6379/0."
        )
    return make_eager(app)
