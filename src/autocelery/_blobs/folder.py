"""A blob store in a folder, local or shared by the machines that need it."""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from autocelery._blobs.protocol import DEFAULT_TTL, checked
from autocelery.errors import StoreFull, StoreUnavailable

#: How often, in seconds, a put also looks for what is too old.
_SWEEP_EVERY = 3600
_SWEPT = ".swept"
_TEMPORARY = ".new-"
#: EFBIG is what a process with a file size limit gets, EDQUOT one whose user has a quota.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FolderStore:
    """Blobs as files below ``path``, in one folder for each first two letters of their names.

    It owns nothing but the files: no handle stays open between calls.

    Args:
        path: made when it is first put to.
        ttl: seconds after which a blob that nobody asked for is swept away.
    """

    def __init__(self, path: Path | str, ttl: int = DEFAULT_TTL) -> None:
        self._path = os.path.abspath(path)
        self._ttl = ttl

    @property
    def url(self) -> str:
        """The folder as a ``file://`` address."""
        return Path(self._path).as_uri()

    def missing(self, names: Collection[str]) -> set[str]:
        """Return the names without a file; the others' ages start anew."""
        with self._reaching():
            return {name for name in names if not _renew(self._file(name))}

    def get(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the contents of those files that are here."""
        found = {}
        with self._reaching():
            for name in names:
                with suppress(FileNotFoundError), open(self._file(name), "rb") as file:
                    found[name] = file.read()
        return found

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Write each file beside its place and rename it there, so that nobody reads half of one."""
        with self._reaching():
            for name, value in blobs.items():
                self._write(self._file(name), value)
            if blobs:
                self._sweep_when_due()

    def discard(self, names: Collection[str]) -> None:
        """Remove these files."""
        with self._reaching():
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(self._file(name))

    def names(self, suffix: str) -> list[str]:
        """Return the names of files that end with ``suffix``."""
        with self._reaching():
            return sorted(entry.name for entry in self._files() if entry.name.endswith(suffix))

    def close(self) -> None:
        """Nothing is open between calls."""

    def sweep(self, older_than: float) -> int:
        """Remove what was last put or asked for more than ``older_than`` seconds ago; return how many."""
        oldest = time.time() - older_than
        removed = 0
        with self._reaching():
            for entry in self._files(temporary=True):
                with suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_mtime < oldest:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def _file(self, name: str) -> str:
        return f"{self._path}/{checked(name)[:2]}/{name}"

    def _files(self, temporary: bool = False) -> Iterator[os.DirEntry[str]]:
        for folder in _scan(self._path):
            if len(folder.name) <= 2 and folder.is_dir(follow_symlinks=False):
                yield from (
                    entry for entry in _scan(folder.path) if temporary or not entry.name.startswith(".")
                )

    def _write(self, path: str, value: bytes) -> None:
        temporary = f"{os.path.dirname(path)}/{_TEMPORARY}{secrets.token_hex(8)}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with open(temporary, "xb") as file:
                file.write(value)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _sweep_when_due(self) -> None:
        marker = f"{self._path}/{_SWEPT}"
        with suppress(FileNotFoundError):
            if time.time() - os.stat(marker).st_mtime < _SWEEP_EVERY:
                return
        with open(marker, "wb"):
            os.utime(marker)
        self.sweep(self._ttl)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in NO_ROOM:
                raise StoreFull(
                    f"The blob store {self.url} has no room: {error.strerror}. Free some of that disk, or "
                    "name another store in AUTOCELERY_STORE."
                ) from error
            raise StoreUnavailable(
                f"The blob store {self.url} cannot be used: {error.strerror} ({error.filename}). Check that "
                "the folder is mounted and that this user may write there, or set AUTOCELERY_STORE."
            ) from error


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _renew(path: str) -> bool:
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:
        # Another user's file on a shared folder: it is here, but only its owner may renew it.
        return os.path.exists(path)
    return True
