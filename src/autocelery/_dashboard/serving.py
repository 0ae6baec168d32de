"""The dashboard's server."""

from __future__ import annotations

import uvicorn
from celery import Celery

from autocelery._dashboard.fleet import Fleet
from autocelery._dashboard.pages import application


def serve(app: Celery, port: int) -> None:
    """Serve the dashboard of ``app`` on this machine only, until told to stop.

    Args:
        app: whose workers, queues and tasks are shown.
        port: where.

    Raises:
        SystemExit: the port is taken.
    """
    config = uvicorn.Config(
        application(Fleet(app)), host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run()
