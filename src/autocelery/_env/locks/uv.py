"""``uv.lock``, versions 1 and its revisions, as uv 0.13 writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from autocelery._env.locks import shapes
from autocelery._env.locks.hashes import hashes_of
from autocelery._env.locks.model import Entry, LockFile, Malformed, Mends, Wanted, grouped, marker_of

NAME = "uv.lock"
MENDS = Mends("uv lock", "uv sync")
VERSION = 1
_OWN = ("editable", "virtual", "directory")


def parse(path: Path, project: Path, raw: Mapping[str, object]) -> LockFile:
    """Return what ``raw``, the TOML of ``path``, says of the project in the folder ``project``.

    Raises:
        Malformed: it is no lock of a version that is known, or contradicts itself.
    """
    if raw.get("version") != VERSION:
        raise Malformed(
            f"is a lock of version {raw.get('version')!r:.20}, and this release of autocelery reads version "
            f'{VERSION}. Upgrade autocelery, or set lock = "installed" in [tool.autocelery].'
        )
    shapes.check_python(shapes.specifier_of(raw, "requires-python"))
    packages = list(shapes.tables(raw, "package"))
    entries = [_entry(each, path) for each in packages]
    own = [each for each in packages if _folder(each, path.parent) == _place(project)]
    members = own or [each for each in packages if _is_member(each, raw)]
    wanted = [each for member in members for each in _wanted(shapes.tables(member, "dependencies"))]
    return LockFile(path, project, MENDS, grouped(entries), tuple(wanted), is_whole=True)


def is_member(raw: Mapping[str, object], path: Path, project: Path) -> bool:
    """Tell whether the lock at ``path`` is that of a workspace to which ``project`` belongs."""
    place = _place(project)
    return any(_folder(each, path.parent) == place for each in shapes.tables(raw, "package"))


def overridden(raw: Mapping[str, object]) -> frozenset[str]:
    """Return the names of what the project has in other versions than are asked for, on purpose."""
    return frozenset(map(shapes.name_of, shapes.tables(shapes.table(raw, "manifest"), "overrides")))


def _entry(package: Mapping[str, object], path: Path) -> Entry:
    name = shapes.name_of(package)
    source = shapes.table(package, "source")
    folder = _folder(package, path.parent)
    extras = shapes.table(package, "optional-dependencies")
    return Entry(
        name,
        at=f"{path.name}, {name}",
        version=shapes.version_of(package, name),
        markers=tuple(map(marker_of, shapes.texts(package, "resolution-markers"))),
        hashes=hashes_of(_files(package), name) if "registry" in source else (),
        folder=folder,
        elsewhere=next((_address(source, key) for key in ("git", "url", "path") if key in source), ""),
        wants=tuple(_wanted(shapes.tables(package, "dependencies"))),
        extras={extra: tuple(_wanted(shapes.tables(extras, extra))) for extra in extras},
    )


def _place(project: Path) -> Path:
    return Path(os.path.realpath(project))


def _address(source: Mapping[str, object], key: str) -> str:
    return shapes.address(shapes.text(source, key) or "") or "nowhere"


def _folder(package: Mapping[str, object], base: Path) -> Path | None:
    source = shapes.table(package, "source")
    found = next((shapes.text(source, key) for key in _OWN if key in source), None)
    return None if found is None else shapes.folder(base, found)


def _is_member(package: Mapping[str, object], raw: Mapping[str, object]) -> bool:
    return shapes.name_of(package) in shapes.texts(shapes.table(raw, "manifest"), "members")


def _files(package: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    sdist = shapes.table(package, "sdist")
    for each in (*shapes.tables(package, "wheels"), *([sdist] if sdist else [])):
        place = next((shapes.text(each, key) for key in ("filename", "url", "path") if key in each), None)
        yield (place or "").rpartition("/")[2], shapes.text(each, "hash") or ""


def _wanted(dependencies: Iterator[Mapping[str, object]]) -> Iterator[Wanted]:
    for each in dependencies:
        marker = shapes.text(each, "marker")
        yield Wanted(
            shapes.name_of(each),
            frozenset(map(shapes.canonical, shapes.texts(each, "extra"))),
            marker_of(marker) if marker else None,
            version=shapes.version_of(each, "a dependency"),
        )
