"""Variables on their way: sealed for the workers with the author's key, and put into the blob store."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from autocelery import _config
from autocelery._blobs import BlobStore, pack
from autocelery._model import Snapshot
from autocelery._signing import keys, variables, worker_keys
from autocelery._snapshot.canonical import digest_of
from autocelery.errors import VariablesError

#: Seconds for which an envelope holds: as long as a store keeps it. Past half of that calls get a new one.
LIFETIME = 7 * 86_400
#: So many of the latest envelopes are kept.
KEPT = 64


class Sealer:
    """Seals variables, once for each snapshot, set of values and set of workers. Safe for threads.

    Owns the latest envelopes, should the store lose them. Of values it keeps a keyed hash only.

    Args:
        store: returns the blob store.
    """

    def __init__(self, store: Callable[[], BlobStore]) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._salt = secrets.token_bytes(32)
        self._sealed: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._kept: OrderedDict[str, tuple[bytes, frozenset[str]]] = OrderedDict()

    def seal(self, snapshot: Snapshot, values: Mapping[str, str]) -> str | None:
        """Return the digest of an envelope with ``values`` that is in the store; ``None`` for no values.

        Args:
            snapshot: what is to run with them.
            values: the variables, by name.

        Raises:
            VariablesError: somebody else has signed that snapshot.
            StoreError: the store does not take it.
            ConfigurationError: a key cannot be used.
        """
        if not values:
            return None
        home = _config.home()
        author, workers = keys.own_key(home), worker_keys.recipients(home)
        if author.id != snapshot.key:
            raise _of_another(snapshot, author.id)
        sealed_for = self._hashed([snapshot.id, author.id, dict(values), [each.id for each in workers]])
        with self._lock:
            digest, renewal = self._sealed.get(sealed_for, ("", 0.0))
            if time.time() < renewal:
                return digest
            now = int(time.time())
            envelope = variables.seal(author, snapshot.id, values, workers, now, now + LIFETIME)
            digest, packed = digest_of(envelope), pack(envelope)
            self._store().put({digest: packed})
            self._sealed[sealed_for] = (digest, now + LIFETIME / 2)
            self._kept[digest] = (packed, frozenset(values))
            for kept in (self._sealed, self._kept):
                if len(kept) > KEPT:
                    kept.popitem(last=False)
            return digest

    def get(self, name: str) -> bytes | None:
        """Return an envelope as it was stored, for a store that has lost it; ``None`` for any other blob."""
        return self._kept[name][0] if name in self._kept else None

    def names_in(self, name: str | None) -> frozenset[str]:
        """Return the names of the variables in an envelope that was sealed here."""
        kept = self._kept.get(name or "")
        return kept[1] if kept else frozenset()

    def _hashed(self, sealed_for: object) -> bytes:
        told = json.dumps(sealed_for, sort_keys=True).encode()
        return hashlib.blake2b(told, key=self._salt).digest()


def _of_another(snapshot: Snapshot, key: str) -> VariablesError:
    return VariablesError(
        f"Snapshot {snapshot} is signed with key {snapshot.key}, and variables go only with snapshots that you have "
        f"signed yourself, with key {key}; nothing was sent. Get its files with autocelery snapshots checkout "
        f"{snapshot}, and send the call from there."
    )
