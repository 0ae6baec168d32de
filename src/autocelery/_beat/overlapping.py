"""Whether the last run of an entry is still going, for entries that do not overlap with themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from celery import Celery
from celery.backends.base import DisabledBackend

from autocelery._beat import encoding
from autocelery._beat.store import SENT, BeatStore, Tick

logger = logging.getLogger(__name__)

#: A run that has not ended after so many seconds has been lost, unless results are kept for less.
LONGEST_RUN = 24 * 3600.0
_LOOKED_BACK = 50
#: What is called when results could not be asked for, so that the next time another connection is.
_afterwards: list[Callable[[], object]] = []


def ask_anew_with(close: Callable[[], object]) -> None:
    """Have ``close`` drop connections that are of no use any more, each time that results could not be asked for."""
    if close not in _afterwards:
        _afterwards.append(close)


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
    return not _has_ended(app, last)


def _has_ended(app: Celery, last: Tick) -> bool:
    """Whether a run has ended; one of which nobody can tell is taken to go on."""
    try:
        return bool(app.AsyncResult(last.task_id).ready())
    except Exception as error:  # noqa: BLE001 - of any result backend; the other entries are sent
        for close in _afterwards:
            close()
        logger.warning(
            "beat: entry %r: whether its last run has ended cannot be known (%s: %s).",
            last.key,
            type(error).__name__,
            error,
        )
        return False
