"""Sends again what a store lost, for as long as the process that sent the snapshot lives."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from autocelery.errors import AutoceleryError

logger = logging.getLogger(__name__)

#: Seconds between two looks for requests; a worker waits four (DESIGN.md, guarantee 4).
INTERVAL = 0.5
#: How many snapshots, and for how many seconds after they were last sent, requests are looked for.
KEPT = 32
LIFETIME = 3600.0


class Healer:
    """Watches for requests from workers. Owns one daemon thread, which starts with the first snapshot.

    Args:
        requested: returns what a worker asks for, as JSON: ``snapshot`` and ``names``.
        resend: sends the named blobs of a snapshot.
    """

    def __init__(
        self,
        requested: Callable[[], bytes | None],
        resend: Callable[[Any, list[str]], None],
    ) -> None:
        self._requested = requested
        self._resend = resend
        self._sent: OrderedDict[str, tuple[float, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._owner = 0

    def watch(self, collected: Any) -> None:
        """Answer requests for ``collected`` (it has an ``id``) from now on."""
        with self._lock:
            self._sent[collected.id] = (time.monotonic(), collected)
            self._sent.move_to_end(collected.id)
            while len(self._sent) > KEPT:
                self._sent.popitem(last=False)
            if self._owner != os.getpid():  # the first snapshot, or the first after a fork
                self._owner = os.getpid()
                threading.Thread(target=self._serve, name="autocelery-healer", daemon=True).start()

    def _serve(self) -> None:
        while True:
            time.sleep(INTERVAL)
            watched = self._watched()
            try:
                asked = self._requested() if watched else None
                if asked is not None:
                    request = json.loads(asked)
                    self._resend(watched[request["snapshot"]], request["names"])
            except (AutoceleryError, ValueError, KeyError, TypeError) as exc:  # another client may answer it
                logger.debug("A worker's request was not answered: %r", exc)

    def _watched(self) -> dict[str, Any]:
        oldest = time.monotonic() - LIFETIME
        with self._lock:
            for snapshot in [each for each, (sent, _) in self._sent.items() if sent < oldest]:
                del self._sent[snapshot]
            return {snapshot: collected for snapshot, (_, collected) in self._sent.items()}
