"""Files that code names and that a task would not find, or not as they are here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from autocelery._publish.checks.paths import NamedPath, named_paths
from autocelery._publish.checks.reached import Source
from autocelery._publish.checks.shipped import Shipped
from autocelery._publish.problems import Problem

#: How the file begins that git has in place of one that is in its large file storage.
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_MAX = 1024
#: How a database of SQLite begins, and what those are called that have nothing in them yet.
_SQLITE = b"SQLite format 3\0"
_DATABASES = (".db", ".sqlite", ".sqlite3")
_DATABASE_MEND = (
    "Have tasks take its path, or the address of a server, from an environment variable that workers have: data "
    "that changes does not travel with code."
)
#: What every machine has.
_EVERYWHERE = ("/bin/", "/dev/", "/etc/", "/opt/", "/proc/", "/run/", "/sys/", "/tmp/", "/usr/", "/var/")


def problems_of(sources: Iterable[Source], shipped: Shipped) -> Iterator[Problem]:
    """Yield what a task would not find of the files that ``sources`` name, each file once."""
    told: set[str] = set()
    named = [(source, each) for source in sources for each in named_paths(source, shipped)]
    named.sort(key=lambda pair: pair[1].use != "read")  # what is opened says more than what is named only
    for source, each in named:
        found = _of_path(source, each, shipped) if each.path not in told else None
        if found is not None:
            told.add(each.path)
            yield found
    yield from _of_pointers(shipped, {each.path for _, each in named if each.use == "read"})


def _of_path(source: Source, each: NamedPath, shipped: Shipped) -> Problem | None:
    where, path = f"{shipped.shown(source.path)}:{each.line}", each.path
    shown = each.written if each.written and os.path.isabs(each.written) else shipped.shown(path)
    if not each.is_sure and not (os.path.exists(path) and shipped.top_of(path)):
        return None
    if each.use == "written":
        return _of_written(each, where, shown, shipped)
    if each.written is not None and os.path.isabs(each.written):
        return _of_absolute(each, where, shipped)
    if shipped.has(path) or (each.use == "named" and not shipped.top_of(path)):
        return None
    if os.path.exists(path):
        if os.path.isdir(path) and not any(files for _, _, files in os.walk(path)):
            return None
        is_database = _is_database(path)
        if is_database and each.use == "named" and _has_databases_of_workers():
            return None
        why, mend = shipped.why_not(path)
        mend = _DATABASE_MEND if is_database else mend
        level = "error" if each.use == "read" and not each.is_guarded else "warning"
        verb = "opens" if each.use == "read" else "names"
        return Problem(level, f"{where} {verb} {shown}, which is not shipped: {why}.", mend)
    if each.use == "read" and not each.is_guarded and shipped.top_of(path):
        what = f"{where} opens {shown}, which is not there."
        return Problem("warning", what, f"Correct the name, or put the file there: {shown}")
    return None


def _of_absolute(each: NamedPath, where: str, shipped: Shipped) -> Problem | None:
    path = each.path
    if path.startswith(_EVERYWHERE) and not shipped.top_of(path):
        return None
    if shipped.top_of(path):
        mend = f"Write it relative to the code: Path(__file__).parent / {os.path.basename(path)!r}"
        return Problem("warning", f"{where} opens {path}: a worker has the tree in another place.", mend)
    what = f"{where} opens {path}, a path of this machine: other workers have no such file."
    return Problem("warning", what, "Put the file into the tree, or have the task get it from elsewhere.")


def _of_written(each: NamedPath, where: str, shown: str, shipped: Shipped) -> Problem | None:
    if each.is_guarded or not shipped.top_of(each.path) or (each.written and os.path.isabs(each.written)):
        return None
    what = f"{where} writes {shown}: what is shipped is read-only on a worker, and no place for results."
    return Problem("warning", what, "Return the result, or write it into a temporary folder (tempfile).")


def _of_pointers(shipped: Shipped, opened: set[str]) -> Iterator[Problem]:
    for path, size in shipped.files.items():
        if size > _POINTER_MAX or size < len(_POINTER) or path.endswith(".py") or not _begins(path, _POINTER):
            continue
        level = "error" if path in opened else "warning"
        yield Problem(
            level, f"{shipped.shown(path)} is a pointer of git lfs, not the file.", "Get it: git lfs pull"
        )


def _is_database(path: str) -> bool:
    return path.endswith(_DATABASES) or _begins(path, _SQLITE)


def _has_databases_of_workers() -> bool:
    """Whether a live call has its worker's SQLite databases, whatever path its code names: Django with our preset."""
    preset = sys.modules.get("autocelery.presets.django._configuring")
    return preset is not None and preset.configured() is not None


def _begins(path: str, with_: bytes) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(with_)) == with_
    except OSError:
        return False
