"""The manifest, the root of a snapshot, as canonical bytes and back."""

from __future__ import annotations

import re
from typing import Any

from autocelery._model import AppSource, Manifest, Package, Root
from autocelery._snapshot.canonical import canonical_json, digest_of, is_digest, parse_canonical
from autocelery._snapshot.tree import check_name
from autocelery.errors import ConfigurationError, SnapshotInvalid

VERSION = 1

_KEYS = frozenset({"v", "roots", "paths", "cwd", "python", "app", "packages", "values", "lock"})
_APP_KEYS = frozenset({"module", "attribute", "main", "settings"})
_PYTHON = re.compile(r"[1-9][0-9]?\.(0|[1-9][0-9]{0,2})")


def encode(manifest: Manifest) -> bytes:
    """Return the canonical bytes of ``manifest``; their SHA-256 is the snapshot's id.

    Raises:
        ConfigurationError: the app's settings have no JSON form.
    """
    app = manifest.app
    value = {
        "v": VERSION,
        "roots": [[root.name, root.tree] for root in manifest.roots],
        "paths": list(manifest.paths),
        "cwd": manifest.cwd,
        "python": manifest.python,
        "app": {
            "module": app.module,
            "attribute": app.attribute,
            "main": app.main,
            "settings": dict(app.settings),
        },
        "packages": [[each.module, each.distribution, each.version] for each in manifest.packages],
        "values": manifest.values,
        "lock": manifest.lock,
    }
    try:
        return canonical_json(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The app's settings cannot travel as JSON: {error}. Move the app into a module of the tree, "
            "which is imported on the worker, or keep that setting to plain values."
        ) from None


def snapshot_id(manifest: Manifest) -> str:
    """Return the id of the snapshot that has this manifest."""
    return digest_of(encode(manifest))


def decode(raw: bytes) -> Manifest:
    """Return the manifest that ``raw`` is the canonical form of.

    Raises:
        SnapshotInvalid: it is malformed, of another version, or names a place outside its roots.
    """
    value = parse_canonical(raw, "The manifest")
    if not isinstance(value, dict) or value.get("v") != VERSION or type(value.get("v")) is not int:
        raise SnapshotInvalid(
            f"The manifest is not of version {VERSION}: caller and worker run different releases of "
            "autocelery. Install the same one on both."
        )
    if set(value) != _KEYS:
        raise SnapshotInvalid(f"The manifest has the keys {sorted(value)}, not {sorted(_KEYS)}.")
    roots = _roots(value["roots"])
    names = {root.name for root in roots}
    return Manifest(
        roots=roots,
        paths=tuple(_inside(path, names) for path in _list(value["paths"], "paths")),
        cwd=_inside(value["cwd"], names),
        python=_python(value["python"]),
        app=_app(value["app"]),
        packages=tuple(_package(each) for each in _list(value["packages"], "packages")),
        values=_digest_or_none(value, "values"),
        lock=_digest_or_none(value, "lock"),
    )


def _list(value: object, key: str) -> list[Any]:
    if not isinstance(value, list):
        raise SnapshotInvalid(f"The manifest's {key!r} is not a list.")
    return value


def _roots(value: object) -> tuple[Root, ...]:
    roots = []
    for pair in _list(value, "roots"):
        if not isinstance(pair, list) or len(pair) != 2 or not is_digest(pair[1]):
            raise SnapshotInvalid("The manifest has a root that is not [name, digest].")
        roots.append(Root(check_name(pair[0]), pair[1]))
    if not roots or len({root.name for root in roots}) != len(roots):
        raise SnapshotInvalid("The manifest has no root, or two of the same name.")
    return tuple(roots)


def _inside(path: object, roots: set[str]) -> str:
    if not isinstance(path, str):
        raise SnapshotInvalid(f"The manifest has the path {path!r}, which is no text.")
    parts = path.split("/")
    if parts[0] not in roots:
        raise SnapshotInvalid(f"The manifest's path {path!r} is in none of its roots.")
    for part in parts:
        check_name(part)
    return path


def _python(value: object) -> str:
    if not isinstance(value, str) or not _PYTHON.fullmatch(value):
        raise SnapshotInvalid(f"The manifest asks for Python {value!r}, which is no major.minor version.")
    return value


def _app(value: object) -> AppSource:
    if not isinstance(value, dict) or set(value) != _APP_KEYS or not isinstance(value["settings"], dict):
        raise SnapshotInvalid("The manifest does not say where the app comes from.")
    if any(not isinstance(value[key], str | None) for key in ("module", "attribute", "main")):
        raise SnapshotInvalid("The manifest's app has a module, attribute or main that is no text.")
    return AppSource(**value)


def _package(value: object) -> Package:
    if not isinstance(value, list) or len(value) != 3 or any(not isinstance(part, str) for part in value):
        raise SnapshotInvalid("The manifest has a package that is not [module, distribution, version].")
    return Package(*value)


def _digest_or_none(value: dict[str, object], key: str) -> str | None:
    digest = value[key]
    if digest is not None and not is_digest(digest):
        raise SnapshotInvalid(f"The manifest's {key!r} is no digest.")
    return digest if isinstance(digest, str) else None
