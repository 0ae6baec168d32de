"""A blob store on whatever reads and writes objects under keys: S3, and what fsspec reaches."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from autocelery._blobs.at_once import each_at_once
from autocelery._blobs.protocol import DEFAULT_TTL, checked

T = TypeVar("T")

#: An entry that was asked for is written anew once this part of its lifetime is over, not each time.
_RENEW_AFTER = 1 / 7
#: How often, in seconds, a process that puts looks whether somebody has swept of late, and how long that lasts.
_LOOK_EVERY = 3600
_SWEEP_EVERY = 24 * 3600
_BLOBS = "blobs"
_SWEPT = "swept"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is there: its key, and when it was written, in seconds since 1970."""

    key: str
    written: float


class Objects(Protocol):
    """What a place has to do to be a store. All of it may be called from several threads.

    Keys are a folder's name, a slash and a blob's name. What goes wrong may
    raise anything; ``reaching`` makes a `StoreError` of it.
    """

    @property
    def url(self) -> str:
        """The address without its password."""

    @property
    def at_once(self) -> int:
        """How many calls the place takes at the same time."""

    @property
    def seconds(self) -> float | None:
        """How long a call may take; ``None`` where the client sees to that."""

    def written(self, key: str) -> float | None:
        """Return when the object was written, ``None`` where there is none."""

    def read(self, key: str) -> bytes | None:
        """Return the object, ``None`` where there is none."""

    def write(self, key: str, value: bytes) -> None:
        """Make or replace the object; nobody reads half of it, if the place can do that."""

    def renew(self, key: str) -> None:
        """Write the object again as it is; one that is gone meanwhile is no error."""

    def remove(self, keys: Collection[str]) -> None:
        """Remove objects; those that are not there are no error."""

    def below(self, folder: str) -> Iterable[Stored]:
        """Return the objects whose keys are below ``folder``; all of them for an empty one."""

    def reaching(self) -> AbstractContextManager[None]:
        """Raise a `StoreError` for whatever is raised inside."""

    def close(self) -> None:
        """Let go of connections."""


class ObjectStore:
    """Blobs as objects: those with a plain name in one folder, named entries in one for each suffix.

    Args:
        objects: the place; closed with the store.
        ttl: seconds after which a blob that nobody asked for is swept away.
    """

    def __init__(self, objects: Objects, ttl: int = DEFAULT_TTL) -> None:
        self._objects = objects
        self._ttl = ttl
        self._looked = float("-inf")

    @property
    def url(self) -> str:
        """The address without its password."""
        return self._objects.url

    def missing(self, names: Collection[str]) -> set[str]:
        """Return the names without an object; others that are older than a day are written anew."""
        keys = [_key(name) for name in names]
        with self._objects.reaching():
            here = self._each(self._look, keys)
        return {name for name, is_here in zip(names, here, strict=True) if not is_here}

    def get(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the contents of those objects that are here."""
        keys = [_key(name) for name in names]
        with self._objects.reaching():
            values = self._each(self._objects.read, keys)
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Write each object, several at once."""
        values = {_key(name): value for name, value in blobs.items()}
        with self._objects.reaching():
            self._each(lambda key: self._objects.write(key, values[key]), values)
            if blobs:
                self._sweep_when_due()

    def discard(self, names: Collection[str]) -> None:
        """Remove these objects."""
        keys = [_key(name) for name in names]
        with self._objects.reaching():
            self._once(lambda: self._objects.remove(keys))

    def names(self, suffix: str) -> list[str]:
        """Return the names of objects that end with ``suffix``, from its folder if it has one."""
        with self._objects.reaching():
            stored = self._below(_folder(suffix) if suffix.startswith(".") else "")
        return sorted(name for each in stored if (name := _name(each.key)).endswith(suffix))

    def close(self) -> None:
        """Let go of connections."""
        self._objects.close()

    def sweep(self, older_than: float) -> int:
        """Remove what was written more than ``older_than`` seconds ago; return how many objects."""
        oldest = time.time() - older_than
        with self._objects.reaching():
            old = [each.key for each in self._below("") if each.written < oldest]
            self._once(lambda: self._objects.remove(old))
        return len(old)

    def _look(self, key: str) -> bool:
        written = self._objects.written(key)
        if written is not None and time.time() - written > self._ttl * _RENEW_AFTER:
            self._objects.renew(key)
        return written is not None

    def _below(self, folder: str) -> list[Stored]:
        return self._once(lambda: [each for each in self._objects.below(folder) if each.key != _SWEPT])

    def _sweep_when_due(self) -> None:
        if time.monotonic() - self._looked < _LOOK_EVERY:
            return
        self._looked = time.monotonic()
        swept = self._once(partial(self._objects.written, _SWEPT))
        if swept is None or time.time() - swept > _SWEEP_EVERY:
            self._once(partial(self._objects.write, _SWEPT, b""))
            self.sweep(self._ttl)

    def _each(self, function: Callable[[str], T], items: Collection[str]) -> list[T]:
        return each_at_once(function, items, self._objects.at_once, self._objects.seconds)

    def _once(self, function: Callable[[], T]) -> T:
        [answer] = each_at_once(lambda _: function(), [None], 1, self._objects.seconds)
        return answer


def _key(name: str) -> str:
    return f"{_folder(name)}/{checked(name)}"


def _folder(name: str) -> str:
    return (name.rpartition(".")[2] or _BLOBS) if "." in name else _BLOBS


def _name(key: str) -> str:
    return key.rpartition("/")[2]
