"""Key files on disk: written whole or not at all, and read only when they are safe."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from autocelery.errors import ConfigurationError, DiskFull, InvalidKey

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_OTHERS_MAY_READ = 0o077
_OTHERS_MAY_WRITE = 0o022


def write_once(path: Path, content: bytes, mode: int) -> bool:
    """Write ``content`` to ``path`` unless a file is there; say whether this call wrote it.

    Any number of processes may call this at once: exactly one gets ``True``,
    and no reader ever sees half a file.

    Raises:
        DiskFull: there is no room.
        ConfigurationError: the folder cannot be written.
    """
    with _typed_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}"
        try:
            _write(temporary, content, mode)
            return _claim(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _claim(temporary: Path, path: Path) -> bool:
    """Give the written file its name; a link, unlike a rename, never replaces another's."""
    try:
        if os.name == "nt":
            temporary.rename(path)  # on Windows a rename refuses to replace
        else:
            os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        raise ConfigurationError(
            f"The key file {path} cannot be put in place: {error.strerror}; its file system seems to have "
            "no hard links. Set AUTOCELERY_HOME to a folder on a local disk."
        ) from error
    return True


def read_private(path: Path) -> bytes:
    """Return the bytes of a file that only its owner may read.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidKey: others may read it.
        ConfigurationError: it cannot be read.
    """
    return _read(path, _OTHERS_MAY_READ, "others can read it", f"chmod 600 {path}")


def read_guarded(path: Path) -> bytes:
    """Return the bytes of a file, and of a folder's entry, that only its owner may write.

    Raises:
        FileNotFoundError: there is no such file.
        InvalidKey: others may write it.
        ConfigurationError: it cannot be read.
    """
    return _read(path, _OTHERS_MAY_WRITE, "others can change it", f"chmod go-w {path}")


def check_guarded(folder: Path) -> None:
    """Refuse a folder in which others may put files.

    Raises:
        InvalidKey: others may write it.
    """
    if os.name != "nt" and folder.stat().st_mode & _OTHERS_MAY_WRITE:
        raise InvalidKey(
            f"The folder of trusted keys {folder} is not used: others can put keys into it. "
            f"Run: chmod go-w {folder} (or name the keys in AUTOCELERY_TRUSTED_KEYS)."
        )


def _read(path: Path, forbidden: int, why: str, mend: str) -> bytes:
    with _typed_errors(path, FileNotFoundError), path.open("rb") as file:
        # The mode of the file that was opened, not of whatever has its name a moment later.
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if os.name != "nt" and mode & forbidden:
            raise InvalidKey(f"The key file {path} is not used: {why} (mode {mode:04o}). Run: {mend}")
        return file.read()


@contextmanager
def _typed_errors(path: Path, *answers: type[OSError]) -> Iterator[None]:
    """Turn what the file system says about ``path`` into errors that say the mend, but for ``answers``."""
    try:
        yield
    except answers:
        raise
    except OSError as error:
        raise _typed(error, path) from error


def _typed(error: OSError, path: Path) -> DiskFull | ConfigurationError:
    if error.errno in _NO_ROOM:
        return DiskFull(
            f"No room to write the key file {path}: {error.strerror}. "
            "Free some space there, or set AUTOCELERY_HOME to a folder on another disk."
        )
    return ConfigurationError(
        f"The key file {path} cannot be used: {error.strerror}. Make its folder readable and writable "
        "for this user, or set AUTOCELERY_HOME to a folder that is."
    )
