"""The caller's ear: the channel that its calls send their output to, renewed as long as this process lives."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager

from autocelery._blobs import BlobStore, output
from autocelery.errors import AutoceleryError
from autocelery_host import aims

logger = logging.getLogger(__name__)

#: Seconds between two signs of life; a worker takes a caller for gone after ten (`_hosting/outbox.py`).
INTERVAL = 2.0
#: How many calls are listened to at once, and for how many seconds each.
MOST = 1024
LIFETIME = 3600.0


class Listener:
    """One channel of one process, for all calls that it asked for their output.

    Owns a daemon thread that renews the channel's entry while there are such
    calls, and removes it with the process.

    Args:
        open_store: gives the blob store.
    """

    def __init__(self, open_store: Callable[[], BlobStore]) -> None:
        self._open_store = open_store
        self._lock = threading.Lock()
        self._calls: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._owner = 0
        self._channel = ""
        self._ticks = 0
        self._renewed = 0.0

    @property
    def store(self) -> BlobStore:
        """The blob store."""
        return self._open_store()

    def hearing(self) -> AbstractContextManager[None]:
        """Have the calls that this thread or task sends in a ``with`` block send their output here."""
        return aims.asking(lambda app, task_id, name: self.ask(task_id, name))

    def ask(self, task_id: str, name: str) -> str | None:
        """Listen to a call that is about to be sent, and return the channel; ``None`` if the store is not to be had.

        Args:
            task_id: the call's.
            name: the task's.
        """
        with self._lock:
            try:
                self._be_known()
            except AutoceleryError as exc:
                logger.warning("The output of %s will not be shown: %s", name, exc)
                return None
            self._calls[task_id] = (name, time.monotonic())
            while len(self._calls) > MOST:
                self._calls.popitem(last=False)
            return self._channel

    def name_of(self, task_id: str) -> str | None:
        """Return the name of the task of a call that is listened to, ``None`` where nobody asked it."""
        with self._lock:
            return self._calls.get(task_id, (None, 0.0))[0]

    def keep(self, task_id: str) -> None:
        """Go on listening to a call, however long it takes."""
        with self._lock:
            if task_id in self._calls:
                self._calls[task_id] = (self._calls[task_id][0], time.monotonic())

    def close(self, task_id: str) -> None:
        """Stop listening to a call."""
        with self._lock:
            self._calls.pop(task_id, None)

    def _be_known(self) -> None:
        """Make the channel known before a call is sent, the first or one after a pause; after a fork it is another."""
        if self._owner == os.getpid():
            if time.monotonic() - self._renewed > INTERVAL:
                self._renew()
            return
        self._channel = secrets.token_hex(16)
        self._calls.clear()
        self._renew()
        self._owner = os.getpid()
        threading.Thread(target=self._serve, name="autocelery-listener", daemon=True).start()
        atexit.register(self._leave)

    def _serve(self) -> None:
        while True:
            time.sleep(INTERVAL)
            try:
                if self._has_calls():
                    self._renew()
            except AutoceleryError as exc:
                logger.debug("The channel was not renewed: %s", exc)
            except Exception:  # this thread has to live as long as its process
                logger.exception("The channel was not renewed")

    def _has_calls(self) -> bool:
        oldest = time.monotonic() - LIFETIME
        with self._lock:
            for task_id in [each for each, (_, since) in self._calls.items() if since < oldest]:
                del self._calls[task_id]
            return bool(self._calls)

    def _renew(self) -> None:
        self._ticks += 1
        self.store.put({output.hear(self._channel): str(self._ticks).encode()})
        self._renewed = time.monotonic()

    def _leave(self) -> None:
        if self._owner == os.getpid():
            with contextlib.suppress(AutoceleryError):
                self.store.discard([output.hear(self._channel)])
