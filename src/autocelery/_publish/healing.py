"""Sends again what a store lost, for as long as the process that sent the snapshot lives."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from autocelery._blobs.needs import Need
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
        requested: returns what workers ask for, by the name of the entry in which they do.
        resend: sends the named blobs of a snapshot.
        answered: removes requests.
    """

    def __init__(
        self,
        requested: Callable[[], Mapping[str, Need]],
        resend: Callable[[Any, Collection[str]], None],
        answered: Callable[[Collection[str]], None],
    ) -> None:
        self._requested = requested
        self._resend = resend
        self._answered = answered
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
                if watched:
                    self._answer(watched)
            except AutoceleryError as exc:
                logger.debug("Workers' requests were not answered: %r", exc)
            except Exception:  # this thread has to live as long as its process
                logger.exception("Workers' requests were not answered")

    def _answer(self, watched: Mapping[str, Any]) -> None:
        requests = self._requested()
        ours = {name: need for name, need in requests.items() if need.snapshot in watched}
        for need in set(ours.values()):  # the others another client of the same user may answer
            self._resend(watched[need.snapshot], need.names)
        if ours:
            self._answered(ours)

    def _watched(self) -> dict[str, Any]:
        oldest = time.monotonic() - LIFETIME
        with self._lock:
            for snapshot in [each for each, (sent, _) in self._sent.items() if sent < oldest]:
                del self._sent[snapshot]
            return {snapshot: collected for snapshot, (_, collected) in self._sent.items()}
