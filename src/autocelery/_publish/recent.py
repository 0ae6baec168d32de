"""The blobs that were sent last, as they were sent: their files may have changed since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping


class RecentBlobs:
    """Keeps the latest blobs, up to ``limit`` bytes; a blob larger than a sixteenth of that is not kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def add(self, sent: Mapping[str, bytes]) -> None:
        """Keep what was sent, packed, and forget the oldest for it."""
        for name, content in sent.items():
            if name not in self._kept and len(content) <= self._limit // 16:
                self._kept[name] = content
                self._size += len(content)
        while self._size > self._limit:
            self._size -= len(self._kept.popitem(last=False)[1])

    def get(self, name: str) -> bytes | None:
        """Return a blob as it was sent, ``None`` if it was not, or long ago."""
        return self._kept.get(name)
