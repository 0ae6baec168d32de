"""``pylock.toml``, lock-version 1.0 (PEP 751).

https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from autocelery._env.locks import shapes
from autocelery._env.locks.hashes import hashes_of
from autocelery._env.locks.model import Entry, LockFile, Malformed, Mends, Wanted, grouped, marker_of

NAME = "pylock.toml"
MENDS = Mends("uv export -o pylock.toml, or what else made it", "uv pip sync pylock.toml")


def parse(path: Path, project: Path, raw: Mapping[str, object]) -> LockFile:
    """Return what ``raw``, the TOML of ``path``, says.

    Raises:
        Malformed: it is no lock of a version that is known, or not for this platform.
    """
    told = shapes.text(raw, "lock-version") or "none"
    if told.partition(".")[0] != "1":
        raise Malformed(
            f"is a lock of version {told:.20}, and this release of autocelery reads version 1. Upgrade "
            'autocelery, or set lock = "installed" in [tool.autocelery].'
        )
    shapes.check_python(shapes.specifier_of(raw, "requires-python"))
    environments = list(map(marker_of, shapes.texts(raw, "environments")))
    if environments and not any(each.evaluate() for each in environments):
        raise Malformed("is not for this platform and Python: none of its environments is this one.")
    entries = [_entry(each, path) for each in shapes.tables(raw, "packages")]
    return LockFile(
        path,
        project,
        MENDS,
        grouped(entries),
        tuple(Wanted(name) for name in grouped(entries)),
        extras=frozenset(shapes.texts(raw, "extras")),
        groups=frozenset(shapes.texts(raw, "dependency-groups")),
        default_groups=frozenset(shapes.texts(raw, "default-groups")),
    )


def _entry(package: Mapping[str, object], path: Path) -> Entry:
    name = shapes.name_of(package)
    marker = shapes.text(package, "marker")
    directory = shapes.table(package, "directory")
    folder = shapes.text(directory, "path")
    subdirectory = shapes.text(directory, "subdirectory") or ""
    return Entry(
        name,
        at=f"{path.name}, {name}",
        version=shapes.version_of(package, name),
        markers=(marker_of(marker),) if marker else (),
        hashes=hashes_of(_files(package), name),
        folder=shapes.folder(path.parent / folder, subdirectory) if folder else None,
        elsewhere=next((_address(package, key) for key in ("vcs", "archive") if key in package), ""),
    )


def _address(package: Mapping[str, object], key: str) -> str:
    table = shapes.table(package, key)
    return shapes.address(shapes.text(table, "url") or shapes.text(table, "path") or "") or "nowhere"


def _files(package: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    sdist = shapes.table(package, "sdist")
    for each in (*shapes.tables(package, "wheels"), *([sdist] if sdist else [])):
        place = next((shapes.text(each, key) for key in ("name", "path", "url") if key in each), None)
        hashes = shapes.table(each, "hashes")
        kind = next(
            (kind for kind in ("sha256", "sha512", "sha384") if kind in hashes), next(iter(hashes), "")
        )
        yield (place or "").rpartition("/")[2], f"{kind}:{shapes.text(hashes, kind)}" if kind else ""
