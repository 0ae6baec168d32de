"""The variables of calls on a worker: the agent fetches and decrypts them, and hands them to one host."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from autocelery._blobs import BlobStore
from autocelery._config import Home
from autocelery._hosting.fetching import Fetcher
from autocelery._signing import keys, variables, worker_keys
from autocelery._signing.variables import Variables
from autocelery._snapshot.cache import BlobCache
from autocelery.errors import SnapshotInvalid, VariablesAltered
from autocelery_host import frames
from autocelery_host.order import Order


class Unsealer:
    """Opens envelopes with the key of this home's workers. Safe for threads; it keeps nothing that it has decrypted.

    Args:
        home: with that key, and the trusted ones.
        cache: where fetched envelopes are kept for a while, encrypted as they are.
        store: returns the blob store, ``None`` where there is none.
        no_store: why there is none.
    """

    def __init__(
        self, home: Home, cache: BlobCache, store: Callable[[], BlobStore | None], no_store: str
    ) -> None:
        self._home = home
        self._cache = cache
        self._store = store
        self._no_store = no_store

    def open(self, order: Order) -> Variables:
        """Return the variables of a host with that order, whose snapshot was verified.

        Raises:
            VariablesError: they are not for this worker, this snapshot or this time, or were altered.
            StoreError: the store does not give them.
        """
        assert order.variables is not None
        fetcher = Fetcher(order.snapshot, order.key, self._store(), self._cache, self._no_store)
        try:
            sealed = fetcher.nodes([order.variables], variables.LARGEST_ENVELOPE)[order.variables]
        except SnapshotInvalid:
            raise VariablesAltered(
                f"The variables of this call of snapshot {order.snapshot[:12]} are not used: their bytes in the blob "
                "store are not the ones that were sent. Find out who can write to it, then send the call again."
            ) from None
        trusted, own = keys.trusted_keys(self._home), worker_keys.own_key(self._home)
        return variables.unseal(sealed, order.snapshot, order.key, trusted, own, time.time())


def hand_over(opened: Variables, host: socket.socket) -> None:
    """Send its variables to a host, before it imports anything."""
    with suppress(OSError):  # it died, which whoever waits for its first word finds out
        frames.send(host, json.dumps(dict(opened.values)).encode())
