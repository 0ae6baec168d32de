"""``poetry.lock``, lock versions 1 and 2, as poetry 1 and 2 write it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement

from autocelery._env.locks import shapes
from autocelery._env.locks.hashes import hashes_of
from autocelery._env.locks.model import Entry, LockFile, Malformed, Mends, Wanted, grouped, marker_of
from autocelery._env.locks.pyproject import of_poetry, specifier_of
from autocelery._env.locks.stated import Stated

NAME = "poetry.lock"
MENDS = Mends("poetry lock", "poetry install")
#: As in "PySocks (>=1.5.6,!=1.5.7) ; extra == 'socks'", which PEP 508 has no brackets for.
_BRACKETS = re.compile(r"\s*\(([^()]*)\)")


def parse(path: Path, project: Path, raw: Mapping[str, object], stated: list[Stated]) -> LockFile:
    """Return what ``raw``, the TOML of ``path``, says.

    Args:
        path: the lock's.
        project: the folder of the project.
        raw: the whole file.
        stated: what the project itself asks for, in its ``pyproject.toml``.

    Raises:
        Malformed: it is no lock of a version that is known.
    """
    metadata = shapes.table(raw, "metadata")
    version = shapes.text(metadata, "lock-version") or "none"
    if version.partition(".")[0] not in ("1", "2"):
        raise Malformed(
            f"is a lock of version {version:.20}, and this release of autocelery reads versions 1 and 2. Upgrade "
            'autocelery, or set lock = "installed" in [tool.autocelery].'
        )
    shapes.check_python(specifier_of(shapes.text(metadata, "python-versions") or "*"))
    packages = list(shapes.tables(raw, "package"))
    entries = [_entry(each, path, shapes.table(metadata, "files")) for each in packages]
    wanted = tuple(each for each, _ in stated if not each.is_optional)
    extras = frozenset(shapes.table(raw, "extras"))
    return LockFile(path, project, MENDS, grouped(entries), wanted, is_whole=True, extras=extras)


def _entry(package: Mapping[str, object], path: Path, files: Mapping[str, object]) -> Entry:
    name = shapes.name_of(package)
    source = shapes.table(package, "source")
    kind, url = shapes.text(source, "type"), shapes.text(source, "url") or ""
    is_of_index = kind in (None, "legacy")
    extras = shapes.table(package, "extras")
    return Entry(
        name,
        at=f"{path.name}, {name}",
        version=shapes.version_of(package, name),
        markers=_markers(package),
        hashes=hashes_of(_files(package, files), name) if is_of_index else (),
        folder=shapes.folder(path.parent, url) if kind == "directory" else None,
        elsewhere="" if is_of_index or kind == "directory" else shapes.address(url) or "nowhere",
        wants=tuple(each for each, _ in of_poetry(shapes.table(package, "dependencies"), path)),
        extras={shapes.canonical(each): tuple(_of_extra(shapes.texts(extras, each))) for each in extras},
    )


def _markers(package: Mapping[str, object]) -> tuple[Marker, ...]:
    """Return under what the package is installed: one text, or one for each group that has it."""
    told = package.get("markers")
    if told is None or isinstance(told, str):
        return (marker_of(told),) if told else ()
    by_group = shapes.table(package, "markers")
    markers = [shapes.text(by_group, each) for each in shapes.texts(package, "groups")]
    return tuple(marker_of(each) for each in markers if each) if all(markers) else ()


def _files(package: Mapping[str, object], files: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield names and hashes: they stand at the package, before lock version 2 at the end of the file."""
    of_package = package if "files" in package else files
    key = "files" if "files" in package else str(package.get("name"))
    for each in shapes.tables(of_package, key):
        yield shapes.text(each, "file") or "", shapes.text(each, "hash") or ""


def _of_extra(texts: list[str]) -> Iterator[Wanted]:
    for text in texts:
        try:
            found = Requirement(_BRACKETS.sub(r" \1", text))
        except InvalidRequirement:
            raise Malformed(f"has {text!r:.80} in an extra, which is no requirement.") from None
        yield Wanted(
            shapes.canonical(found.name), frozenset(map(shapes.canonical, found.extras)), found.marker
        )
