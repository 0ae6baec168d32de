"""One instance's work: hold the lease, record what is due, send it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from celery import Celery

from autocelery._beat.definition import task_id_of
from autocelery._beat.overlapping import is_still_going
from autocelery._beat.planning import Planner
from autocelery._beat.sender import Sender, call_of
from autocelery._beat.store import OVERLAPPED, RECORDED, BeatStore, Decision, Entry, Tick
from autocelery._beat.tenure import Tenure, elapsed
from autocelery.errors import EntryInvalid

logger = logging.getLogger(__name__)

#: The longest pause, in seconds: an edit, and the end of another's lease, are seen within it.
LONGEST_PAUSE = 1.0
#: So many entries are recorded in one transaction.
AT_ONCE = 200
#: An entry that cannot be planned is tried again after so many seconds.
RETRY_SECONDS = 60.0
#: For how long, in days, it is remembered what was sent.
HISTORY_DAYS = 7
_PRUNE_EVERY = 3600.0


class Beating:
    """Sends what is due while it holds the lease, and stands by while another does.

    Args:
        app: whose tasks are sent.
        store: the schedule.
        planner: says when entries are due.
        tenure: this instance's part in the lease.
        sender: sends.
    """

    def __init__(
        self, app: Celery, store: BeatStore, planner: Planner, tenure: Tenure, sender: Sender
    ) -> None:
        self._app = app
        self._store = store
        self._planner = planner
        self._tenure = tenure
        self._sender = sender
        #: Whether the outbox may hold what this instance does not know of.
        self._is_outbox_unknown = True
        self._pruned_at = elapsed()

    def beat(self) -> float:
        """Do what is to be done now, and return for how many seconds there is nothing.

        Raises:
            BeatDatabaseUnavailable: the database does not answer.
        """
        self._sender.settle()
        if not self._tenure.hold():
            self._is_outbox_unknown = True
            return LONGEST_PAUSE
        if not self._empty_outbox():
            return LONGEST_PAUSE
        due = self._store.due(AT_ONCE)
        if not due.ids:
            self._prune(due.now)
            wait = LONGEST_PAUSE if due.next_fire is None else (due.next_fire - due.now).total_seconds()
            return min(max(wait, 0.0), LONGEST_PAUSE)
        return 0.0 if self._send_due(due.ids) else LONGEST_PAUSE

    def stop(self) -> None:
        """Let others have the lease at once."""
        self._sender.settle()
        self._tenure.release()

    def _send_due(self, ids: Collection[str]) -> bool:
        if not self._sender.is_ready() or not self._tenure.renew() or self._tenure.token is None:
            return False
        was_unknown, self._is_outbox_unknown = (
            self._is_outbox_unknown,
            True,
        )  # what if the commit is not heard of?
        ticks = self._store.record(self._tenure.token, ids, self._decide)
        if ticks is None:
            self._tenure.lost()
            return False
        if not self._send(ticks, is_repeat=False):
            return False
        self._is_outbox_unknown = was_unknown
        return True

    def _empty_outbox(self) -> bool:
        """Send what was recorded, by this instance or by one before it, and is not known to be sent."""
        while self._is_outbox_unknown:
            ticks = self._store.outbox()
            mine = [each for each in ticks if each.token == self._tenure.token]
            others = [each for each in ticks if each.token != self._tenure.token]
            if ticks and not self._sender.is_ready():
                return False
            if not self._send(mine, is_repeat=False):
                return False
            if others and not self._tenure.is_alone:
                return True  # whoever recorded them may be frozen in the middle of sending them: they wait
            if not self._send(others, is_repeat=True):
                return False
            self._is_outbox_unknown = bool(ticks)
        return True

    def _send(self, ticks: list[Tick], is_repeat: bool) -> bool:
        for each in ticks:
            if is_still_going(self._app, self._store, each):
                logger.warning("beat: entry %r is left out: its last run is still going.", each.key)
                self._store.settle([replace(each, state=OVERLAPPED)])
                ticks = [other for other in ticks if other is not each]
        return self._sender.send(ticks, is_repeat)

    def _decide(self, entry: Entry, now: datetime) -> Decision:
        """Return what becomes of an entry that is due; one that fails does not keep the others from being sent."""
        try:
            plan = self._planner.plan(entry, now)
            call = call_of(plan.definition)
        except EntryInvalid as error:
            return self._put_off(entry, error.message, now)
        except Exception as error:  # noqa: BLE001 - one entry never stops the others
            return self._put_off(entry, f"{type(error).__name__}: {error}", now)
        if plan.missed:
            logger.warning(
                "beat: entry %r has missed ticks since %s; by its rule (%s) %d are sent.",
                entry.key,
                entry.next_tick,
                plan.definition.missed,
                len(plan.ticks),
            )
        ticks = tuple(self._tick(entry, each, call) for each in plan.ticks)
        following = replace(entry, next_tick=plan.next_tick, next_fire=plan.next_fire, problem=None)
        if ticks:
            runs = entry.runs + len(ticks)
            following = replace(
                following, last_tick=ticks[-1].tick, last_task_id=ticks[-1].task_id, runs=runs
            )
        return Decision(following, ticks)

    def _tick(self, entry: Entry, moment: datetime, call: str) -> Tick:
        return Tick(entry.id, entry.key, moment, task_id_of(entry.id, moment), RECORDED, 0, call)

    def _put_off(self, entry: Entry, why: str, now: datetime) -> Decision:
        if entry.problem != why:
            logger.error("beat: entry %r is not sent: %s.", entry.key, why)
        return Decision(replace(entry, problem=why, next_fire=now + timedelta(seconds=RETRY_SECONDS)))

    def _prune(self, now: datetime) -> None:
        if elapsed() > self._pruned_at + _PRUNE_EVERY:
            self._pruned_at = elapsed()
            self._store.prune(now - timedelta(days=HISTORY_DAYS))
