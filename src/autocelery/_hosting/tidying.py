"""What the agent's caches no longer need is removed, a little later and beside the calls."""

from __future__ import annotations

import logging
import threading

from autocelery._hosting.preparing import Preparer

logger = logging.getLogger(__name__)

#: Seconds that pass before what a lease left is looked at: a burst of edits is tidied up after once.
DELAY = 0.5


class Tidier:
    """Owns one thread, which sleeps unless a lease has ended."""

    def __init__(self, preparer: Preparer) -> None:
        self._preparer = preparer
        self._due = threading.Event()
        self._due.set()  # what an earlier run of the worker left
        threading.Thread(target=self._serve, name="tidier", daemon=True).start()

    def wake(self) -> None:
        """Have it look soon."""
        self._due.set()

    def _serve(self) -> None:
        pause = threading.Event()
        while True:
            self._due.wait()
            pause.wait(DELAY)
            self._due.clear()
            try:
                self._preparer.tidy()
            except Exception:
                logger.exception("The worker's caches could not be tidied up")
