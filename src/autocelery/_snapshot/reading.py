"""Read one file of the tree: whole, at one moment, or not at all."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

from autocelery._snapshot import chunk_list, tree
from autocelery._snapshot.canonical import digest_of
from autocelery._snapshot.chunking import WHOLE_MAX, chunks_in
from autocelery._snapshot.imports import imported_names
from autocelery._snapshot.secrecy import holds_private_key, may_hold_key
from autocelery._snapshot.tokens import secret_in
from autocelery._snapshot.watching import RACY, Signature
from autocelery.errors import BadFileName, FileKeepsChanging, UnreadableFile

#: Seconds that are waited each time that a file has changed while it was read: what writes to it is often done by
#: then. After the last it is one that keeps changing.
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.0)
#: Kinds that stand in a file's state but in no tree.
SECRET = "secret"
SPECIAL = "special"

_CHUNK = 2**20
_FLAGS = (
    os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)


class FileState(NamedTuple):
    """What is known of one file, for as long as its signature stays.

    ``digest`` of a link is its target, of a secret why it is one. ``is_settled``: an equal signature
    proves equal bytes. ``chunks`` is the chunk list of a large file, encoded.
    """

    signature: Signature
    is_settled: bool
    kind: str
    digest: str
    imports: tuple[str, ...] = ()
    chunks: str = ""

    @property
    def size(self) -> int:
        """Bytes that it adds to a tree."""
        return 0 if self.kind == tree.LINK else self.signature[0]


def signature_of(status: os.stat_result) -> Signature:
    """Return what differs between any two states of a file, as far as a stat can tell."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode)


def read_state(
    top: str, path: str, may_be_secret: bool, told: Callable[[int], None] = lambda _: None
) -> FileState | None:
    """Return the state of the file at ``path`` relative to ``top``; ``None`` if it is gone.

    Args:
        top: the tree's.
        path: of the file.
        may_be_secret: whether a private key in it keeps it from being shipped.
        told: is told of each so many bytes of a large file, once they are read.

    Raises:
        UnreadableFile: the file may not be read.
        FileKeepsChanging: it changed each time it was read.
        BadFileName: it is a link to a name that is not UTF-8.
    """
    full = f"{top}/{path}"
    for pause in PAUSES:
        try:
            state = _read_once(top, full, path, may_be_secret, told)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UnreadableFile(
                f"{full} belongs to the tree and cannot be read: {error.strerror}. Give this user the "
                "right to read it, or name it in .gitignore or in tool.autocelery.exclude."
            ) from error
        if state is not None:
            return state
        time.sleep(pause)
    raise keeps_changing(full, "read")


def keeps_changing(path: str, done: str) -> FileKeepsChanging:
    """Return the error for a file that changed each time that something was done with it."""
    return FileKeepsChanging(
        f"{path} changed each of the {len(PAUSES)} times it was {done}: another program is writing to it. Wait "
        "until it is done, or name the file in .gitignore or in tool.autocelery.exclude."
    )


def _read_once(
    top: str, full: str, path: str, may_be_secret: bool, told: Callable[[int], None]
) -> FileState | None:
    started = time.time_ns()
    status = os.lstat(full)
    signature = signature_of(status)
    is_settled = max(signature[1], signature[2]) < started - RACY
    if stat.S_ISLNK(status.st_mode):
        return FileState(signature, is_settled, tree.LINK, _target(top, full))
    if not stat.S_ISREG(status.st_mode):
        return FileState(signature, is_settled, SPECIAL, "")
    file = os.open(full, _FLAGS)
    try:
        if signature_of(os.fstat(file)) != signature:
            return None
        is_key = may_be_secret and may_hold_key(path)
        keep = is_key or path.endswith(".py")
        if signature[0] > WHOLE_MAX:
            digest, raw, chunks = _cut(file, keep, told)
        else:
            (digest, raw), chunks = _hash(file, signature[0], keep), ""
        if signature_of(os.fstat(file)) != signature:
            return None
    finally:
        os.close(file)
    reason = "a private key" if is_key and holds_private_key(raw) else None
    if may_be_secret and (reason or (reason := secret_in(path, raw))):
        return FileState(signature, is_settled, SECRET, reason)
    kind = tree.EXECUTABLE if status.st_mode & stat.S_IXUSR else tree.FILE
    imports = tuple(sorted(imported_names(raw))) if path.endswith(".py") else ()
    return FileState(signature, is_settled, kind, digest, imports, chunks)


def _hash(file: int, size: int, keep: bool) -> tuple[str, bytes]:
    """Return the digest of what is open as ``file`` and, if it is to be kept, the bytes."""
    first = os.read(file, min(size + 1, _CHUNK))
    if len(first) == size:
        return hashlib.sha256(first).hexdigest(), first
    digest = hashlib.sha256(first)
    kept = [first] if keep else []
    while chunk := os.read(file, _CHUNK):
        digest.update(chunk)
        if keep:
            kept.append(chunk)
    return digest.hexdigest(), b"".join(kept)


def _cut(file: int, keep: bool, told: Callable[[int], None]) -> tuple[str, bytes, str]:
    """Return what `_hash` returns, and the chunk list."""
    digest, kept, chunks = hashlib.sha256(), [], []
    for chunk in chunks_in(lambda size: os.read(file, size)):
        digest.update(chunk)
        chunks.append(chunk_list.Chunk(len(chunk), digest_of(chunk)))
        if keep:
            kept.append(bytes(chunk))
        told(len(chunk))
    return digest.hexdigest(), b"".join(kept), chunk_list.encode(chunks).decode()


def _target(top: str, full: str) -> str:
    """Return the link's target; one that is absolute but inside the tree becomes relative."""
    target = os.readlink(full)
    try:
        target.encode()
    except UnicodeEncodeError:
        raise BadFileName(
            f"The link {full} leads to {os.fsencode(target)!r}, a name that is not UTF-8. Rename what it "
            "leads to, or name the link in tool.autocelery.exclude."
        ) from None
    if os.path.isabs(target) and (target == top or target.startswith(f"{top}/")):
        return os.path.relpath(target, os.path.dirname(full))
    return target
