"""A file that says what a project needs, by its path: parsed once as long as it does not change."""

from __future__ import annotations

import os
import threading
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autocelery._env.locks import poetry, pylock, pyproject, requirements, uv
from autocelery._env.locks.model import Entry, LockFile, Malformed, Wanted
from autocelery._env.locks.stated import Stated
from autocelery.errors import LockInvalid

Signature = tuple[int, ...]

#: Nanoseconds within which two writes may have one time: what was written just now is read again.
_GRAIN = 50_000_000

_parsed: dict[tuple[Path, Path], tuple[tuple[Signature | None, ...], LockFile]] = {}
_turn = threading.Lock()


def read(path: Path, project: Path) -> LockFile:
    """Return what the file at ``path`` says of the project in the folder ``project``.

    Raises:
        LockInvalid: it is malformed, contradicts itself, or is older than what the project asks for.
    """
    with _turn:
        signatures, kept = _parsed.get((path, project), (None, None))
        if kept is not None and signatures == tuple(map(signature_of, kept.files)):
            return kept
        return _read_whole(path, project)


def _read_whole(path: Path, project: Path) -> LockFile:
    """Return what the files say that are read for it, none of which changed meanwhile; remember it."""
    before = {each: signature_of(each) for each in (path, project / pyproject.NAME)}
    while True:
        began = time.time_ns()
        found = _read(path, project)
        after = {each: signature_of(each) for each in found.files}
        if all(each in before and before[each] == signature for each, signature in after.items()):
            break
        before = after
    if all(signature is None or signature[0] < began - _GRAIN for signature in after.values()):
        _parsed[path, project] = (tuple(after.values()), found)
    return found


def signature_of(path: Path) -> Signature | None:
    """Return what changes with a file, ``None`` where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(path: Path, project: Path) -> LockFile:
    try:
        return _parse(path, project)
    except Malformed as exc:
        raise LockInvalid(f"{path} {exc}") from None


def _parse(path: Path, project: Path) -> LockFile:
    if path.suffix != ".toml" and path.name not in (uv.NAME, poetry.NAME):
        return requirements.parse(path, project)
    raw = toml(path)
    if path.name == pyproject.NAME:
        return replace(pyproject.parse(path, project, raw), files=(path,))
    if path.name == uv.NAME:
        found = uv.parse(path, project, raw)
    elif path.name == poetry.NAME:
        found = poetry.parse(path, project, raw, _stated(project))
    else:
        return replace(pylock.parse(path, project, raw), files=(path,))
    _check_current(found, _stated(project), uv.overridden(raw))
    return replace(found, files=(path, project / pyproject.NAME))


def _stated(project: Path) -> list[Stated]:
    place = project / pyproject.NAME
    try:
        return pyproject.stated_in(toml(place), place) if place.exists() else []
    except Malformed as exc:
        raise LockInvalid(f"{place} {exc}") from None


def toml(path: Path) -> Mapping[str, object]:
    """Return what the file at ``path`` holds.

    Raises:
        LockInvalid: it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as exc:
        raise LockInvalid(f"{path} cannot be read: {exc.strerror}.") from None
    except (ValueError, RecursionError) as exc:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise LockInvalid(f"{path} is not valid TOML: {exc}") from None


def _check_current(lock: LockFile, stated: list[Stated], overridden: frozenset[str]) -> None:
    """Refuse a lock without what the project asks for now."""
    for wanted, entry in stated:
        if wanted.is_optional or wanted.name in overridden or not _holds(wanted):
            continue
        locked = lock.entries.get(wanted.name, ())
        if not locked:
            what = f"does not have {wanted.name}, which {pyproject.NAME} asks for"
        elif not any(_admits(entry, each) for each in locked):
            has = " and ".join(str(each.version) for each in locked)
            what = f"has {wanted.name} {has}, and {pyproject.NAME} asks for {wanted.name}{entry.specifier}"
        else:
            continue
        raise Malformed(f"{what}: it is older than that. Run: {lock.mends.again}")


def _holds(wanted: Wanted) -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": ""})


def _admits(entry: Entry, locked: Entry) -> bool:
    return (
        locked.version is None
        or bool(locked.folder or locked.elsewhere or entry.folder or entry.elsewhere)
        or entry.specifier.contains(locked.version, prereleases=True)
    )
