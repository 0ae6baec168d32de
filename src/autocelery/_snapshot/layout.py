"""Lay a snapshot out as a folder: hard links to the blob cache, put in place by one rename."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autocelery._model import Manifest
from autocelery._snapshot.cache import is_intact, stamp_of
from autocelery._snapshot.canonical import is_digest
from autocelery._snapshot.plan import Plan, plan
from autocelery.errors import DiskFull, SnapshotIncomplete, SnapshotInvalid

#: Where layouts grow, beside those that are finished, so that a rename can put them in place.
SCRATCH = ".scratch"
#: What a crash leaves in there is swept after so many seconds.
_LEFTOVER_AGE = 3600
#: Another file system; links not allowed there; as many links as one file can have.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def lay_out(
    manifest: Manifest,
    snapshot_id: str,
    *,
    node: Callable[[str], bytes],
    blob: Callable[[str], Path | str | None],
    folder: Path,
) -> Path:
    """Return the folder with the snapshot's files, laid out if it is not there yet.

    The files are read-only. Any number of processes may lay out the same
    snapshot at once; a crash leaves nothing but a folder in the scratch place.

    Args:
        manifest: as it was decoded, after its signature was checked.
        snapshot_id: its digest, the name of the folder that is made.
        node: gives the bytes of a tree node by its digest.
        blob: gives the file with a blob's bytes by its digest, as ``BlobCache.find`` does.
        folder: where all snapshots lie.

    Raises:
        SnapshotInvalid: it would write outside of its folder, collide, or shadow the interpreter's hooks.
        SnapshotIncomplete: a blob went away meanwhile.
        DiskFull: there is no room.
    """
    if not is_digest(snapshot_id):
        raise SnapshotInvalid(f"{snapshot_id!r} is no snapshot's id.")
    place = folder / snapshot_id
    if place.is_dir():
        return place
    scratch = _new_scratch(folder)
    try:
        _fill(scratch, plan(manifest, node, ignores_case=os.path.exists(_swapped(scratch))), blob)
        _put_in_place(scratch, place)
    except OSError as error:
        raise _typed(error, place) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return place


def sweep(folder: Path, older_than: float = _LEFTOVER_AGE) -> int:
    """Remove what crashes left in the scratch place more than ``older_than`` seconds ago; return how many."""
    removed = 0
    with suppress(FileNotFoundError), os.scandir(folder / SCRATCH) as leftovers:
        for entry in leftovers:
            with suppress(FileNotFoundError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > older_than:
                    shutil.rmtree(entry.path, ignore_errors=True)
                    removed += 1
    return removed


def is_whole(place: Path, manifest: Manifest, node: Callable[[str], bytes]) -> bool:
    """Tell whether each file at ``place`` is still the blob that was laid out; a stat a file.

    A process that may write to read-only files, as root may, can have changed
    one, and with it the blob of every snapshot that shares it.
    """
    for path, digest, size, _is_executable in plan(manifest, node).files:
        try:
            status = os.lstat(f"{place}/{path}")
        except OSError:
            return False
        if status.st_size != size or not is_intact(status, digest):
            return False
    return True


def remove(place: Path, folder: Path) -> None:
    """Remove a laid-out snapshot: out of sight by one rename, then file by file."""
    scratch = folder / SCRATCH / f"gone-{secrets.token_hex(8)}"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        os.rename(place, scratch)
        shutil.rmtree(scratch, ignore_errors=True)


def link_or_copy(source: str, path: str, digest: str, size: int) -> None:
    """Put the blob at ``source`` where ``path`` says, as a link to it where the file system allows."""
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(source, path, digest, size, 0o444)


def scratch_place(folder: Path) -> Path:
    """Return a name of its own in the scratch place of ``folder``, where nothing is yet."""
    parent = folder / SCRATCH
    parent.mkdir(parents=True, exist_ok=True)
    return parent / f"new-{os.getpid()}-{secrets.token_hex(8)}"


def _new_scratch(folder: Path) -> str:
    sweep(folder)
    try:
        scratch = scratch_place(folder)
        scratch.mkdir(mode=0o700)
    except OSError as error:
        raise _typed(error, folder) from error
    return os.fspath(scratch)


def _swapped(scratch: str) -> str:
    """Return the name that leads to ``scratch`` only where case is ignored."""
    parent, name = os.path.split(scratch)
    return os.path.join(parent, name.upper())


def _fill(scratch: str, layout: Plan, blob: Callable[[str], Path | str | None]) -> None:
    """Make folders, then files, and links last: nothing is ever written through a link."""
    inside = f"{scratch}/tree"
    os.mkdir(inside)
    for path in layout.folders:
        os.mkdir(f"{inside}/{path}")
    sources: dict[str, str] = {}
    for path, digest, size, is_executable in layout.files:
        source = sources.get(digest)
        if source is None:
            source = sources[digest] = _source(digest, blob)
        if is_executable:
            _copy(source, f"{inside}/{path}", digest, size, 0o555)
        else:
            link_or_copy(source, f"{inside}/{path}", digest, size)
    for path, target in layout.links:
        os.symlink(target, f"{inside}/{path}")


def _source(digest: str, blob: Callable[[str], Path | str | None]) -> str:
    path = blob(digest)
    if path is None:
        raise SnapshotIncomplete(f"The blob {digest[:12]} of the snapshot is not here. Send the call again.")
    return os.fspath(path)


def _copy(source: str, path: str, digest: str, size: int, mode: int) -> None:
    shutil.copyfile(source, path)
    os.chmod(path, mode)
    os.utime(path, ns=(time.time_ns(), stamp_of(digest, size)))


def _put_in_place(scratch: str, place: Path) -> None:
    try:
        os.rename(f"{scratch}/tree", place)
    except OSError as error:
        # Another process was first. Its layout is the same, for the id says what is in it.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY) or not place.is_dir():
            raise


def _typed(error: OSError, place: Path) -> Exception:
    if error.errno in _NO_ROOM:
        return DiskFull(
            f"The disk of {place.parent} has no room for the snapshot: {error.strerror}. Free some, set "
            "AUTOCELERY_CACHE_MAX lower, or move it with AUTOCELERY_HOME."
        )
    if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
        return SnapshotInvalid(
            f"The snapshot has a path that this worker's disk cannot hold: {error.filename!r}."
        )
    if isinstance(error, FileNotFoundError):
        return SnapshotIncomplete(
            f"A blob of the snapshot went away while it was laid out ({error.filename}). Send the call again."
        )
    return error
