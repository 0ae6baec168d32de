"""Restart the stock worker after each edit, then call the task: what one does without autocelery."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from benchmarks.drivers import arguments, reply, time_edits
from benchmarks.fleet import Worker


def main() -> None:
    """Start the worker, edit and restart as often as asked, stop it."""
    asked = arguments()
    answer = import_module("proj.tasks").answer
    worker = Worker(Path.cwd(), os.environ)
    worker.start()

    def restart_and_call() -> int:
        # The call is sent after the old worker has ended, else that one answers it, with old code.
        worker.stop()
        worker.start(wait=False)
        return int(answer.delay().get(timeout=120))

    try:
        reply(time_edits(restart_and_call, count=asked["count"], first=asked["first"]))
    finally:
        worker.stop()


if __name__ == "__main__":
    main()
