"""The worker's blob cache: one read-only file a blob, kept to a size."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from autocelery._snapshot.canonical import is_digest
from autocelery._snapshot.chunking import WHOLE_MAX
from autocelery.errors import DiskFull, SnapshotInvalid

_TEMPORARY = ".new-"
#: What the chunk list of a large blob is called, which lies beside it.
LIST_SUFFIX = ".chunks"
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
        #: Called with a number of bytes before so many are added, to make room for them.
        self.make_room: Callable[[int], object] = lambda _: None
        self._lock = threading.Lock()
        self._used: int | None = None
        self._added = 0
        self._promised = 0

    @property
    def used(self) -> int:
        """How many bytes its blobs have, with those that are on their way; counted along, not looked up."""
        with self._lock:
            used = self._used
        if used is None:
            used = self._counted(self._added, self.size())
        return used + self._promised

    @contextmanager
    def room_for(self, size: int) -> Iterator[None]:
        """Have room made for ``size`` more bytes, which are added in this block."""
        self.make_room(size)
        with self._lock:
            self._promised += size
        try:
            yield
        finally:
            with self._lock:
                self._promised -= size

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
        return self.add_pieces(digest, len(raw), [raw])

    def add_pieces(self, digest: str, size: int, pieces: Iterable[bytes]) -> Path:
        """Keep a blob that comes in pieces, of which one at a time is in memory.

        Raises:
            SnapshotInvalid: the pieces are not the ``size`` bytes that ``digest`` names.
            DiskFull: there is no room; it is asked for before the first piece is.
        """
        path = self._path(digest)
        temporary = f"{os.path.dirname(path)}/{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            self._write(temporary, digest, size, pieces)
            was_there = os.path.lexists(path)
            os.replace(temporary, path)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise DiskFull(
                    f"The disk of the blob cache {self._folder} has no room: {error.strerror}. Free some, "
                    "set AUTOCELERY_CACHE_MAX lower, or move it with AUTOCELERY_HOME."
                ) from error
            raise
        if not was_there:
            self._count(size)
        return Path(path)

    def discard(self, digest: str) -> None:
        """Forget a blob, if it is here."""
        with suppress(FileNotFoundError):
            size = os.lstat(self._path(digest)).st_size
            self._remove(digest)
            self._count(-size)

    def path_of(self, digest: str, suffix: str = "") -> str:
        """Return where a blob lies or would lie, or what belongs to it under ``suffix``."""
        return self._path(digest) + suffix

    def chunk_lists(self) -> Iterator[tuple[str, bytes]]:
        """Yield the digest of each large blob that is here, and its chunk list."""
        for folder in _scan(self._folder):
            for entry in _scan(folder.path):
                digest = entry.name.removesuffix(LIST_SUFFIX)
                if digest != entry.name and is_digest(digest):
                    with suppress(OSError):
                        yield digest, Path(entry.path).read_bytes()

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
                self._remove(file.digest)
                freed += file.size
        self._count(-freed)
        return freed

    def sweep(self, in_use: Container[str]) -> Swept:
        """Remove every blob that no layout shares and that is not ``in_use``.

        Args:
            in_use: asked for each digest just before its file goes.
        """
        removed, left, added = [], 0, self._added
        for file in self._files():
            if file.links > 1 or file.digest in in_use:
                left += file.size
                continue
            with suppress(FileNotFoundError):
                self._remove(file.digest)
                removed.append(file.digest)
        self._counted(added, left)
        return Swept(removed, left)

    def clear_leftovers(self) -> None:
        """Remove what a crash left half written; nobody else may be writing."""
        for folder in _scan(self._folder):
            for entry in _scan(folder.path):
                if entry.name.startswith(_TEMPORARY):
                    with suppress(OSError):
                        os.unlink(entry.path)

    def _remove(self, digest: str) -> None:
        path = self._path(digest)
        with suppress(FileNotFoundError):
            os.unlink(path + LIST_SUFFIX)
        os.unlink(path)

    def _count(self, size: int) -> None:
        with self._lock:
            self._added += size
            if self._used is not None:
                self._used += size

    def _counted(self, added: int, size: int) -> int:
        """Take note of the ``size`` that was found in the files; ``added`` is what `_added` was before that."""
        with self._lock:
            self._used = size + self._added - added
            return self._used

    def _path(self, digest: str) -> str:
        if not is_digest(digest):
            raise SnapshotInvalid(f"{digest!r} is no digest.")
        return f"{self._folder}/{digest[:2]}/{digest}"

    def _write(self, path: str, digest: str, size: int, pieces: Iterable[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = os.open(path, flags, 0o600)
        try:
            if size > WHOLE_MAX:
                _allocate(file, size)
            hashed, written = hashlib.sha256(), 0
            for piece in pieces:
                written += len(piece)
                if written > size:
                    break
                hashed.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(file, view) :]
            if written != size or hashed.hexdigest() != digest:
                raise SnapshotInvalid(
                    f"The blob {digest[:12]} contradicts its digest. Ship the snapshot again."
                )
            os.fchmod(file, 0o444)
            os.utime(file, ns=(time.time_ns(), stamp_of(digest, size)))
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


def _allocate(file: int, size: int) -> None:
    """Take the room for a large file before it is fetched, where the file system can."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV):
                raise


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
