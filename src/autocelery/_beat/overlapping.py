"""Whether the last run of an entry is still going, for entries that do not overlap with themselves."""

from __future__ import annotations

from datetime import timedelta

from celery import Celery
from celery.backends.base import DisabledBackend

from autocelery._beat import encoding
from autocelery._beat.store import SENT, BeatStore, Tick

#: A run that has not ended after so many seconds has been lost, unless results are kept for less.
LONGEST_RUN = 24 * 3600.0
_LOOKED_BACK = 50


def lacks_results(app: Celery, task: str) -> bool:
    """Whether nobody would know when a run of ``task`` has ended."""
    found = app.tasks.get(task)
    ignores = (
        app.conf.task_ignore_result if found is None or found.ignore_result is None else found.ignore_result
    )
    return isinstance(app.backend, DisabledBackend) or bool(ignores)


def is_still_going(app: Celery, store: BeatStore, tick: Tick) -> bool:
    """Whether ``tick`` must wait for a run that was sent before it: only where its entry says so."""
    if '"overlap": false' not in (tick.call or "") or encoding.loads(tick.call or "{}")["overlap"]:
        return False
    sent = (
        each for each in store.history(tick.key, _LOOKED_BACK) if each.state == SENT and each.tick < tick.tick
    )
    last = next(sent, None)
    if last is None:
        return False
    expires = app.conf.result_expires
    kept = expires.total_seconds() if isinstance(expires, timedelta) else float(expires or LONGEST_RUN)
    if tick.tick - last.tick > timedelta(seconds=min(LONGEST_RUN, kept)):
        return False
    return not app.AsyncResult(last.task_id).ready()
