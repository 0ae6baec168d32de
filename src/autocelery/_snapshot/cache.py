"""The worker's blob cache: one read-only file a blob, kept to a size."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Collection, Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from autocelery._snapshot.canonical import digest_of, is_digest
from autocelery.errors import DiskFull, SnapshotInvalid

_TEMPORARY = ".new-"
#: A use is noted only if the last one was noted this long ago, in seconds: a stat is cheaper than a utime.
_USE_GRAIN = 60
_LEFTOVER_AGE = 3600
#: 1980-01-03, so that also zip files can hold the times that are given here.
_FIRST_TIME = 315_705_600


class BlobCache:
    """Blobs as files, each named by its digest.

    Every file carries a modification time that is made of its digest and its
    size. So a file that was written to, or cut short by a crash, is told from
    a whole one by one stat; and Python's own check of compiled code (time and
    size of the source) never takes one version of a module for another.

    Args:
        folder: made when the first blob comes; hard links from it must be possible for fast layouts.
        limit: bytes to which `evict` brings it down.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = os.fspath(folder)
        self.limit = limit

    def get(self, digest: str) -> Path | None:
        """Return the file with that digest's bytes, or ``None`` if it is absent or was tampered with."""
        path = self.find(digest)
        return None if path is None else Path(path)

    def find(self, digest: str) -> str | None:
        """Return what `get` returns, as text: two thousand Path objects cost a layout 8 ms."""
        path = self._path(digest)
        try:
            status = os.lstat(path)
        except OSError:
            return None
        if not is_intact(status, digest):
            with suppress(OSError):
                os.unlink(path)
            return None
        now = time.time()
        if now - status.st_atime > _USE_GRAIN:
            with suppress(OSError):
                os.utime(path, ns=(int(now * 1e9), status.st_mtime_ns))
        return path

    def add(self, digest: str, raw: bytes) -> Path:
        """Keep ``raw`` and return its file, which is whole from the moment it can be seen.

        Raises:
            SnapshotInvalid: ``raw`` is not what ``digest`` names.
            DiskFull: there is no room.
        """
        if digest_of(raw) != digest:
            raise SnapshotInvalid(f"The blob {digest[:12]} contradicts its digest. Ship the snapshot again.")
        path = self._path(digest)
        temporary = f"{os.path.dirname(path)}/{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            self._write(temporary, raw, stamp_of(digest, len(raw)))
            os.replace(temporary, path)
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DiskFull(
                    f"The disk of the blob cache {self._folder} has no room: {error.strerror}. Free some, "
                    "set AUTOCELERY_CACHE_MAX lower, or move it with AUTOCELERY_HOME."
                ) from error
            raise
        return Path(path)

    def size(self) -> int:
        """Return how many bytes the blobs have together."""
        return sum(file.size for file in self._files())

    def evict(self, in_use: Collection[str] = ()) -> int:
        """Remove the least recently used blobs until the rest is within the limit; return the bytes freed.

        Blobs that are ``in_use`` (digests) stay, and so do those that a layout
        shares: to remove one of them would free nothing.
        """
        files = sorted(self._files(), key=lambda file: file.used)
        excess = sum(file.size for file in files) - self.limit
        freed = 0
        for file in files:
            if freed >= excess:
                break
            if file.digest in in_use or file.links > 1:
                continue
            with suppress(FileNotFoundError):
                os.unlink(self._path(file.digest))
                freed += file.size
        return freed

    def sweep(self, in_use: Container[str]) -> Swept:
        """Remove every blob that no layout shares and that is not ``in_use``.

        Args:
            in_use: asked for each digest just before its file goes.
        """
        removed, left = [], 0
        for file in self._files():
            if file.links > 1 or file.digest in in_use:
                left += file.size
                continue
            with suppress(FileNotFoundError):
                os.unlink(self._path(file.digest))
                removed.append(file.digest)
        return Swept(removed, left)

    def _path(self, digest: str) -> str:
        if not is_digest(digest):
            raise SnapshotInvalid(f"{digest!r} is no digest.")
        return f"{self._folder}/{digest[:2]}/{digest}"

    def _write(self, path: str, raw: bytes, stamp: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = os.open(path, flags, 0o600)
        try:
            view = memoryview(raw)
            while view:
                view = view[os.write(file, view) :]
            os.fchmod(file, 0o444)
            os.utime(file, ns=(time.time_ns(), stamp))
        finally:
            os.close(file)

    def _files(self) -> Iterator[_Cached]:
        for folder in _scan(self._folder):
            for entry in _scan(folder.path):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if is_digest(entry.name):
                        yield _Cached(entry.name, status.st_size, status.st_atime_ns, status.st_nlink)
                    elif entry.name.startswith(_TEMPORARY) and time.time() - status.st_ctime > _LEFTOVER_AGE:
                        os.unlink(entry.path)


class Swept(NamedTuple):
    """What `BlobCache.sweep` removed (digests), and how many bytes are left."""

    removed: list[str]
    left: int


class _Cached(NamedTuple):
    digest: str
    size: int
    used: int
    links: int


def stamp_of(digest: str, size: int) -> int:
    """Return the modification time, in nanoseconds, of the file with this digest and size."""
    seconds = _FIRST_TIME + (int(digest[:8], 16) >> 2)
    # Microseconds, because some network file systems keep no finer time.
    return seconds * 10**9 + size % 10**6 * 1000


def is_intact(status: os.stat_result, digest: str) -> bool:
    """Tell whether a file with this status still is the blob that was put under ``digest``."""
    return status.st_mtime_ns == stamp_of(digest, status.st_size)


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
