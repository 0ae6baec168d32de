"""A blob store wherever fsspec can write: Google's and Azure's buckets, SFTP, and what others have added."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import fsspec

from autocelery._blobs.addresses import short, without_password
from autocelery._blobs.folder import NO_ROOM
from autocelery._blobs.objects import Stored
from autocelery._blobs.per_process import PerProcess
from autocelery.errors import AutoceleryError, ConfigurationError, StoreFull, StoreUnavailable

#: What goes before the scheme of an address that is fsspec's.
MARK = "fsspec+"
#: How long one call may take, in seconds: not every target of fsspec's has a limit of its own.
SECONDS = 30.0
AT_ONCE = 16
#: Where an object appears whole or not at all. Elsewhere it is written beside its place and moved there.
_WHOLE = frozenset(
    {"memory", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss", "cos", "tos"}
)
_BESIDE = ".new-"
#: How often a file is written whose folder goes away meanwhile.
_ATTEMPTS = 20
#: What targets call the time of the last change.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


@dataclass(frozen=True, slots=True)
class _Mounted:
    """A file system, the folder in it, and what lets one thread in where it is made for one."""

    files: Any
    root: str
    alone: AbstractContextManager[object]


class Filesystem:
    """The files below a folder of a target of fsspec's. Owns one instance of it, each process its own.

    Options and credentials are found as fsspec finds them: in ``FSSPEC_*``
    variables, the files in ``~/.config/fsspec``, and the target's own ways.

    Args:
        url: ``fsspec+`` and an address that fsspec knows, such as ``fsspec+gs://bucket/folder``.

    Raises:
        ConfigurationError: fsspec does not know such addresses, or the package for them is missing.
    """

    def __init__(self, url: str) -> None:
        self._target = url.removeprefix(MARK)
        #: The address without its password.
        self.url = without_password(url)
        self._protocol = self._target.split("://", 1)[0]
        try:
            kind = fsspec.get_filesystem_class(self._protocol)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(
                f"fsspec does not open the blob store {self.url}: {short(str(error))}. Install the package "
                "that it names, here and on the workers, or name another store in AUTOCELERY_STORE."
            ) from None
        self._at_once = AT_ONCE if kind.async_impl else 1
        self._mounted = PerProcess(self._mount)

    @property
    def at_once(self) -> int:
        """Several where the target is made for it."""
        return self._at_once

    @property
    def seconds(self) -> float:
        """How long a call may take."""
        return SECONDS

    def written(self, key: str) -> float | None:
        """Return when the file was last changed; a target that does not tell never forgets."""
        with self._using() as at, suppress(FileNotFoundError):
            return _time(at.files.info(f"{at.root}/{key}"))
        return None

    def read(self, key: str) -> bytes | None:
        """Return the file's content."""
        with self._using() as at, suppress(FileNotFoundError):
            return bytes(at.files.cat_file(f"{at.root}/{key}"))
        return None

    def write(self, key: str, value: bytes) -> None:
        """Write the file, in one step as far as the target has one."""
        with self._using() as at:
            if self._protocol in _WHOLE:
                at.files.pipe_file(f"{at.root}/{key}", value)
            else:
                _write_beside(at.files, f"{at.root}/{key}", value)

    def renew(self, key: str) -> None:
        """Write the file again as it is: few targets can change a file's time."""
        value = self.read(key)
        if value is not None:
            self.write(key, value)

    def remove(self, keys: Collection[str]) -> None:
        """Remove the files."""
        with self._using() as at:
            for key in keys:
                with suppress(FileNotFoundError):
                    at.files.rm_file(f"{at.root}/{key}")

    def below(self, folder: str) -> Iterable[Stored]:
        """List the files."""
        found: dict[str, Any] = {}
        with self._using() as at, suppress(FileNotFoundError):  # a folder may go while it is listed
            found = at.files.find(f"{at.root}/{folder}".rstrip("/"), detail=True)
        for path, told in found.items():
            key = path.strip("/").removeprefix(at.root.strip("/")).strip("/")
            if not (folder and _BESIDE in key):  # what a writer left behind is for the sweep alone
                yield Stored(key, _time(told))

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Raise a `StoreError` for whatever the target raises, which may be of any class."""
        try:
            yield
        except AutoceleryError:
            raise
        except Exception as error:  # noqa: BLE001 - each target has errors of its own
            if isinstance(error, TimeoutError):
                self._mounted.drop()  # with the lock that the thread which hangs may hold
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise StoreFull(
                    f"The blob store {self.url} has no room: {error.strerror}. Free some there, or name "
                    "another store in AUTOCELERY_STORE."
                ) from None
            raise StoreUnavailable(
                f"The blob store {self.url} cannot be used ({type(error).__name__}: {short(str(error))}). "
                "Check its address and credentials, or name another store in AUTOCELERY_STORE."
            ) from None

    def close(self) -> None:
        """Let go of the instance; fsspec closes what it holds with it."""
        self._mounted.drop()

    @contextmanager
    def _using(self) -> Iterator[_Mounted]:
        at = self._mounted.get()
        with at.alone:
            at.files.invalidate_cache()  # other clients write there too
            yield at

    def _mount(self) -> _Mounted:
        files, root = fsspec.url_to_fs(self._target, skip_instance_cache=True)
        return _Mounted(files, root.rstrip("/"), nullcontext() if files.async_impl else Lock())


def _write_beside(files: Any, path: str, value: bytes) -> None:
    """Write a file, and its folder before it where that is missing, even if somebody removes it at this moment."""
    for attempt in range(_ATTEMPTS):
        try:
            if attempt:
                files.makedirs(path.rpartition("/")[0], exist_ok=True)
            return _write_once(files, path, value)
        except FileNotFoundError:
            if attempt == _ATTEMPTS - 1:
                raise
    return None


def _write_once(files: Any, path: str, value: bytes) -> None:
    scratch = f"{path.rpartition('/')[0]}/{_BESIDE}{secrets.token_hex(8)}"
    try:
        files.pipe_file(scratch, value)
        files.mv(scratch, path)
    except BaseException:
        with suppress(FileNotFoundError):
            files.rm_file(scratch)
        raise


def _time(told: dict[str, Any]) -> float:
    """Return the time of last change that a target tells, in seconds since 1970; now, where it tells none."""
    value = next((told[name] for name in _TIMES if told.get(name) is not None), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).timestamp()
    return float(value) if value is not None else datetime.now(UTC).timestamp()
