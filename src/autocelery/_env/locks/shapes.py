"""Values out of what TOML gives, each of the type that it has to be."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from autocelery._env.locks.model import Malformed

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def text(table: Mapping[str, object], key: str) -> str | None:
    """Return the text at ``key``, ``None`` where there is nothing.

    Raises:
        Malformed: it is something else.
    """
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise Malformed(f"has {key} = {value!r:.60}, which is no text.")
    return value


def table(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return the table at ``key``, an empty one where there is nothing.

    Raises:
        Malformed: it is something else.
    """
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise Malformed(f"has {key} = {value!r:.60}, which is no table.")
    return value


def items(table: Mapping[str, object], key: str) -> list[object]:
    """Return the array at ``key``, an empty one where there is nothing.

    Raises:
        Malformed: it is something else.
    """
    value = table.get(key, [])
    if not isinstance(value, list):
        raise Malformed(f"has {key} = {value!r:.60}, which is no array.")
    return value


def tables(table: Mapping[str, object], key: str) -> Iterator[Mapping[str, object]]:
    """Yield the tables of the array at ``key``.

    Raises:
        Malformed: it is something else.
    """
    for value in items(table, key):
        if not isinstance(value, Mapping):
            raise Malformed(f"has {value!r:.60} in {key}, which is no table.")
        yield value


def texts(table: Mapping[str, object], key: str) -> list[str]:
    """Return the texts of the array at ``key``.

    Raises:
        Malformed: it is something else.
    """
    found = items(table, key)
    for value in found:
        if not isinstance(value, str):
            raise Malformed(f"has {value!r:.60} in {key}, which is no text.")
    return [str(each) for each in found]


def name_of(table: Mapping[str, object]) -> str:
    """Return the canonical name at ``name``.

    Raises:
        Malformed: there is none.
    """
    found = text(table, "name")
    if found is None:
        raise Malformed("has a package without a name.")
    return canonical(found)


def canonical(name: str) -> str:
    """Return ``name`` in its one spelling (PEP 503).

    Raises:
        Malformed: it is no name.
    """
    if not _NAME.fullmatch(name):
        raise Malformed(f"has {name!r:.80}, which is no name of a package.")
    return canonicalize_name(name)


def version_of(table: Mapping[str, object], of: str) -> str | None:
    """Return the version in its one spelling (PEP 440), ``None`` where there is none.

    Raises:
        Malformed: it is no version.
    """
    found = text(table, "version")
    if found is None:
        return None
    try:
        return str(Version(found))
    except ValueError:  # InvalidVersion is one
        raise Malformed(f"has {of} {found!r:.60}, which is no version.") from None


def check_python(admitted: SpecifierSet) -> None:
    """Refuse a lock that is not for this version of Python.

    Raises:
        Malformed: it is not.
    """
    here = ".".join(map(str, sys.version_info[:3]))
    if not admitted.contains(here, prereleases=True):
        raise Malformed(
            f"is for Python {admitted}, and this is {here}. Call from one of those, or lock for this one."
        )


def specifier_of(table: Mapping[str, object], key: str) -> SpecifierSet:
    """Return the versions that are admitted at ``key``, any where there is nothing.

    Raises:
        Malformed: it is something else.
    """
    found = text(table, key) or ""
    try:
        return SpecifierSet(found)
    except InvalidSpecifier:
        raise Malformed(f"has {key} = {found!r:.60}, which is no specifier.") from None


def folder(base: Path, path: str) -> Path:
    """Return the folder ``path``, which is relative to ``base``, wherever links lead.

    Raises:
        Malformed: it is no path.
    """
    try:
        return Path(os.path.realpath(base / path))
    except (OSError, ValueError):
        raise Malformed(f"has the path {path!r:.120}, which is none.") from None


def address(url: str) -> str:
    """Return ``url`` without who may read it: no name, no password, no token, no query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return url.partition("://")[0]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
