"""The process of ``autocelery beat``: Celery's own, but that it ends what it is in the middle of before it stops."""

from __future__ import annotations

from contextlib import closing, suppress
from types import FrameType
from typing import Any

from celery import platforms
from celery.apps.beat import Beat

from autocelery._beat.opening import open_store
from autocelery.errors import BeatDatabaseUnavailable

SCHEDULER = "autocelery.beat:DatabaseScheduler"


class GracefulBeat(Beat):
    """Celery's beat; SIGTERM and Ctrl-C let it finish what it does, within seconds."""

    def install_sync_handler(self, service: Any) -> None:
        """Have a signal end the loop, where Celery's raises in the middle of it."""

        def stop(_signal: int, _frame: FrameType | None) -> None:
            service.stop()

        platforms.signals.update(SIGTERM=stop, SIGINT=stop)


def run(app: Any, loglevel: str) -> None:
    """Send periodic tasks until told to stop.

    Args:
        app: whose schedule it is.
        loglevel: as Celery writes it.

    Raises:
        BeatNotConfigured: the database is not named, or what names it makes no sense.
        BeatDatabaseNotReady: its tables cannot be made, or are of another version.
    """
    with closing(open_store(app)) as store, suppress(BeatDatabaseUnavailable):  # for which beat itself waits
        store.prepare()  # else Celery logs the traceback of what is told in a sentence
    GracefulBeat(app=app, scheduler=SCHEDULER, loglevel=loglevel).run()
