"""Attachments on a worker: the agent signs what hosts attach, and fetches and checks what they are to unpickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from autocelery._blobs import BlobStore, pack
from autocelery._config import Home
from autocelery._hosting.fetching import Fetcher
from autocelery._signing import attachments, keys
from autocelery._snapshot.cache import BlobCache
from autocelery._snapshot.canonical import digest_of
from autocelery.errors import (
    AttachmentAltered,
    AttachmentMissing,
    SnapshotIncomplete,
    SnapshotInvalid,
    StoreUnavailable,
)

#: How often a value is fetched again that the tidier took away before it was opened.
_ATTEMPTS = 3


class Attachments:
    """Keeps and opens attachments for hosts. Safe for threads; the cache and the store are others'.

    Args:
        home: with the worker's own key, which signs, and the trusted ones.
        cache: where fetched blobs are kept for a while.
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

    def keep(self, question: Mapping[str, Any], file: IO[bytes]) -> dict[str, object]:
        """Put what is in ``file`` into the store and return a signed reference to it.

        Args:
            question: ``type``, ``snapshot``, and ``call``: whose result it is, ``None`` for an argument.
            file: the pickle, open.

        Raises:
            StoreError: the store does not take it.
        """
        file.seek(0)
        raw = file.read()
        digest, store, call = digest_of(raw), self._store(), question["call"]
        if store is None:
            raise StoreUnavailable(self._no_store)
        if store.missing([digest]):
            store.put({digest: pack(raw)})
        purpose = attachments.ARGUMENT if call is None else attachments.RESULT
        said = attachments.Attachment(
            digest, len(raw), question["type"], question["snapshot"], purpose, call or ""
        )
        return attachments.sign(keys.own_key(self._home), said)

    def open(self, question: Mapping[str, Any]) -> IO[bytes]:
        """Return the signed bytes behind a reference, as an open file.

        Args:
            question: ``reference``, and what it is wanted for: ``snapshot`` and ``call``.

        Raises:
            AttachmentError: it is not trusted, was altered, or is nowhere.
        """
        use = attachments.Use(question["snapshot"], question["call"])
        reference = question["reference"]
        found = attachments.check(reference, use, keys.trusted_keys(self._home))
        fetcher = Fetcher(found.snapshot, reference["key"], self._store(), self._cache, self._no_store)
        for _ in range(_ATTEMPTS):
            with suppress(FileNotFoundError):  # the tidier was faster
                return _fetched(fetcher, found).open("rb")
        raise _missing(found)


def _fetched(fetcher: Fetcher, found: attachments.Attachment) -> Path:
    try:
        return fetcher.files({found.digest: found.size})[found.digest]
    except SnapshotIncomplete:
        raise _missing(found) from None
    except SnapshotInvalid:
        raise AttachmentAltered(
            f"The {found} is not unpickled: its bytes in the blob store are not the ones that were signed. "
            "Find out who can write to the store, then send the call again."
        ) from None


def _missing(found: attachments.Attachment) -> AttachmentMissing:
    return AttachmentMissing(
        f"The {found} is not in the blob store: it was wiped or evicted, and no caller was there to send it again. "
        "Send the call again."
    )
