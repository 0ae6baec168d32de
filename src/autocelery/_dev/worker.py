"""The worker of ``autocelery dev``: Celery's own, which runs plain calls on the newest version of the code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

from celery.app.utils import find_app

from autocelery._celery import newest
from autocelery._publish.facade import for_app
from autocelery._up import control
from autocelery.errors import UpUnavailable

#: Seconds that running tasks have to end when all of it is stopped.
STOP_SECONDS = 10.0
_POLL_SECONDS = 0.5


def main(name: str, place: str, folder: str, *options: str) -> None:
    """Run it.

    Args:
        name: of the app, as for ``celery -A``.
        place: the file that names the newest version.
        folder: the project that ``dev`` runs for.
        *options: of ``celery worker``.
    """
    threading.Thread(target=_end_with, args=(os.getppid(),), name="autocelery-dev", daemon=True).start()
    app = find_app(name)
    for_app(app)
    newest.follow(app, Path(place), lambda: _start_beat_again(Path(folder)))
    app.worker_main(["worker", *options])


def _end_with(parent: int) -> None:
    """End this worker with all of its group when ``dev`` was killed, which would have done it after as long."""
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(_POLL_SECONDS)
    if sys.platform != "linux":  # where the kernel has done so
        os.kill(os.getpid(), signal.SIGTERM)
    pause.wait(STOP_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _start_beat_again(folder: Path) -> None:
    """Have beat read its schedule anew, now that the code of the new version is known to load."""
    with contextlib.suppress(UpUnavailable):
        list(control.ask(folder, {"do": "restart", "name": "beat"}, patience=None))


if __name__ == "__main__":
    main(*sys.argv[1:])
