"""What every blob store can do; `tests/contract/test_blob_stores.py` is the same text as tests."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

#: How long a blob stays after it was last put or asked for, in seconds.
DEFAULT_TTL = 7 * 24 * 3600
#: How much one round trip carries, in bytes, before a put or get is split.
BATCH_BYTES = 8 * 2**20
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")


class BlobStore(Protocol):
    """Where blobs and manifests rest between a caller and its workers.

    A store holds bytes under names. It may forget them at any moment, and it
    may be used by several threads at once. Every method raises
    `StoreUnavailable` when the store cannot be reached.
    """

    @property
    def url(self) -> str:
        """The store's address without its password, for messages."""

    def missing(self, names: Collection[str]) -> set[str]:
        """Return those of ``names`` that are not here, and renew the lifetime of the others."""

    def get(self, names: Collection[str]) -> dict[str, bytes]:
        """Return what is here of ``names``, in as few round trips as the store allows."""

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Keep these bytes under these names; to put the same again changes nothing.

        Raises:
            StoreFull: there is no room; some of ``blobs`` may have been kept.
        """

    def discard(self, names: Collection[str]) -> None:
        """Forget these names; those that are not here are no error."""

    def names(self, suffix: str) -> list[str]:
        """Return the names that end with ``suffix``, such as ``.sig``, sorted."""

    def close(self) -> None:
        """Let go of connections; a closed store is not used again."""


def batches(blobs: Mapping[str, bytes], limit: int = BATCH_BYTES) -> Iterator[dict[str, bytes]]:
    """Split ``blobs`` into parts of at most ``limit`` bytes, or of one blob that is larger.

    >>> [sorted(part) for part in batches({"a": b"12", "b": b"34", "c": b"5"}, limit=4)]
    [['a', 'b'], ['c']]
    """
    part: dict[str, bytes] = {}
    size = 0
    for name, value in blobs.items():
        if part and size + len(value) > limit:
            yield part
            part, size = {}, 0
        part[name] = value
        size += len(value)
    if part:
        yield part


def in_parts(names: Collection[str], at_once: int) -> Iterator[list[str]]:
    """Split ``names`` into lists of at most ``at_once``."""
    ordered = list(names)
    for start in range(0, len(ordered), at_once):
        yield ordered[start : start + at_once]


def checked(name: str) -> str:
    """Return ``name``, if it leads nowhere as a part of a path.

    Raises:
        ValueError: it cannot be the name of a blob.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a blob")
    return name
