"""The process of ``autocelery beat``: Celery's own, but that it ends what it is in the middle of before it stops."""

from __future__ import annotations

from types import FrameType
from typing import Any

from celery import platforms
from celery.apps.beat import Beat

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
    """
    GracefulBeat(app=app, scheduler=SCHEDULER, loglevel=loglevel).run()
