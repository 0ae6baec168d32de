"""A blob store for tests; it passes the same contract suite as the real ones."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from autocelery.errors import StoreFull, StoreUnavailable

__all__ = ["MemoryStore"]


class MemoryStore:
    """A blob store in this process's memory.

    Args:
        capacity: bytes that fit in; ``None`` for no limit.

    Example:
        >>> store = MemoryStore()
        >>> store.put({"a": b"1"})
        >>> store.get(["a", "b"])
        {'a': b'1'}
        >>> store.wipe()
        >>> store.missing(["a"])
        {'a'}
    """

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        #: Set it to make every call fail as if the server were gone.
        self.is_down = False
        self._blobs: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """What messages call this store."""
        return "memory://"

    def missing(self, names: Collection[str]) -> set[str]:
        """Return those of ``names`` that are not here."""
        self._reach()
        with self._lock:
            return {name for name in names if name not in self._blobs}

    def get(self, names: Collection[str]) -> dict[str, bytes]:
        """Return what is here of ``names``."""
        self._reach()
        with self._lock:
            return {name: self._blobs[name] for name in names if name in self._blobs}

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Keep ``blobs``.

        Raises:
            StoreFull: they do not fit into ``capacity``.
        """
        self._reach()
        with self._lock:
            wanted = {**self._blobs, **{name: bytes(value) for name, value in blobs.items()}}
            size = sum(map(len, wanted.values()))
            if self.capacity is not None and size > self.capacity:
                raise StoreFull(f"The blob store {self.url} holds {self.capacity} bytes; this needs {size}.")
            self._blobs = wanted

    def discard(self, names: Collection[str]) -> None:
        """Forget ``names``."""
        self._reach()
        with self._lock:
            for name in names:
                self._blobs.pop(name, None)

    def names(self, suffix: str) -> list[str]:
        """Return the names that end with ``suffix``, sorted."""
        self._reach()
        with self._lock:
            return sorted(name for name in self._blobs if name.endswith(suffix))

    def close(self) -> None:
        """Nothing to let go of."""

    def wipe(self) -> None:
        """Forget everything, as a store may at any moment."""
        with self._lock:
            self._blobs = {}

    def _reach(self) -> None:
        if self.is_down:
            raise StoreUnavailable(f"The blob store {self.url} was taken down by this test.")
