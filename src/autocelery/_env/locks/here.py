"""What is installed here, as a lock would have it."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from autocelery._env.locks import shapes
from autocelery._env.locks.model import Entry
from autocelery._env.pins import canonical_version


def distribution(name: str) -> metadata.Distribution | None:
    """Return what is installed here under that name, ``None`` where nothing is."""
    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def version_of(installed: metadata.Distribution) -> str | None:
    """Return its version (PEP 440), ``None`` where it has none."""
    return canonical_version(installed.version)


def entry_of(name: str, installed: metadata.Distribution) -> Entry:
    """Return what a lock would say of it."""
    version = version_of(installed)
    url, how = _origin(installed)
    if not url:
        return Entry(name, "installed", version)
    folder = _path(url) if how else None
    if folder is not None and folder.is_dir() and (how == "editable" or _is_pure(installed)):
        return Entry(name, "installed", version, folder=folder)
    return Entry(name, "installed", version, elsewhere=shapes.address(url))


def edited_at(installed: metadata.Distribution) -> Path | None:
    """Return the folder in which it is edited, if it is: it travels as it is there."""
    url, how = _origin(installed)
    return _path(url) if how == "editable" else None


def _path(url: str) -> Path:
    return Path(os.path.realpath(unquote(urlsplit(url).path)))


def _origin(installed: metadata.Distribution) -> tuple[str, str]:
    """Return the address that it came from (PEP 610), and ``folder`` or ``editable`` where that is one.

    An index that has something of that name has somebody else's.
    """
    try:
        told = json.loads(installed.read_text("direct_url.json") or "{}")
    except ValueError:
        return "", ""
    if not isinstance(told, dict) or not isinstance(told.get("url"), str):
        return "", ""
    how = told.get("dir_info")
    if not isinstance(how, dict):
        return told["url"], ""
    return told["url"], "editable" if how.get("editable") else "folder"


def _is_pure(installed: metadata.Distribution) -> bool:
    """Whether its source is all that it needs: what was compiled for it is not in its folder."""
    return not any(each.suffix in (".so", ".pyd", ".dylib") for each in installed.files or ())
