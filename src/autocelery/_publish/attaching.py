"""Attachments at the caller: signed with its key and put into the store; results checked before they are unpickled."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery

from autocelery import _config
from autocelery._blobs import BlobStore, pack
from autocelery._blobs.packing import unpack
from autocelery._publish.recent import RecentBlobs
from autocelery._signing import attachments, keys
from autocelery._snapshot.canonical import digest_of
from autocelery.errors import AttachmentAltered, AttachmentMissing, SnapshotInvalid
from autocelery_host.attachments import Value
from autocelery_host.carrying import read, type_of, write

#: Below this many bytes a blob is put without asking whether the store has it.
_SMALL = 65_536


class CallerCarrier:
    """Keeps and opens the attachments of one app's calls.

    Args:
        app: whose calls they are.
        store: returns the blob store.
        recent: keeps the latest of them, should the store lose them.
    """

    def __init__(self, app: Celery, store: Callable[[], BlobStore], recent: RecentBlobs) -> None:
        self._app = app
        self._store = store
        self._recent = recent

    def keep(self, values: Sequence[Value], snapshot: str, call: str | None) -> list[dict[str, Any]]:
        """Return references to ``values``; see `autocelery_host.attachments.Carrier`."""
        raws = [self._pickled(each) for each in values]
        blobs = {digest_of(raw): raw for raw in raws}
        self._put(blobs)
        key = keys.own_key(_config.home())
        purpose = attachments.ARGUMENT if call is None else attachments.RESULT
        return [
            attachments.sign(
                key,
                attachments.Attachment(
                    digest, len(blobs[digest]), type_of(value.value), snapshot, purpose, call or ""
                ),
            )
            for value, digest in zip(values, map(digest_of, raws), strict=True)
        ]

    def open(self, reference: object, snapshot: str, call: str | None) -> Any:
        """Return the value behind ``reference``; see `autocelery_host.attachments.Carrier`."""
        use = attachments.Use(snapshot, call)
        found = attachments.check(reference, use, keys.trusted_keys(_config.home()))
        stored = self._store().get([found.digest]).get(found.digest)
        if stored is None:
            raise AttachmentMissing(
                f"The {found} is not in {self._store().url} any more: it is kept for seven days, or was wiped or "
                "evicted. Send the call again, and fetch its result sooner."
            )
        return read(self._app, io.BytesIO(authentic(stored, found)), reference)

    def _pickled(self, value: Value) -> bytes:
        buffer = io.BytesIO()
        write(self._app, value, buffer)
        return buffer.getvalue()

    def _put(self, raws: dict[str, bytes]) -> None:
        large = [digest for digest, raw in raws.items() if len(raw) >= _SMALL]
        lacking = self._store().missing(large) if large else set()
        packed = {each: pack(raw) for each, raw in raws.items() if each in lacking or each not in large}
        self._store().put(packed)
        self._recent.add(packed)


def authentic(stored: bytes, found: attachments.Attachment) -> bytes:
    """Return the bytes whose stored form is ``stored``, if they are the ones that were signed.

    Raises:
        AttachmentAltered: they are not.
    """
    try:
        raw = unpack(stored, found.size, found.size)
    except SnapshotInvalid:
        raw = b""
    if digest_of(raw) != found.digest:
        raise AttachmentAltered(
            f"The {found} is not unpickled: its bytes in the blob store are not the ones that were signed. Find out "
            "who can write to the store, then send the call again."
        )
    return raw
