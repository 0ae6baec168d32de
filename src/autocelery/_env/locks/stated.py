"""Requirements as people write them (PEP 508), and the folders and addresses that take a version's place."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from autocelery._env.locks import shapes
from autocelery._env.locks.model import Entry, Malformed, Wanted

Stated = tuple[Wanted, Entry]
_EXTRAS = re.compile(r"(?P<rest>.*?)\s*\[(?P<extras>[^\]]*)\]$")
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)")


def from_requirement(text: str, at: str, base: Path, hashes: tuple[str, ...] = ()) -> Stated:
    """Return what ``text`` wants, and what it says of that.

    Args:
        text: ``requests[socks]>=2; python_version < "3.12"``, or ``lib @ file:///home/me/lib``.
        at: where it stands, as people read it.
        base: what a path in it is relative to.
        hashes: those that its files may have.

    Raises:
        Malformed: it is none.
    """
    try:
        found = Requirement(text)
    except InvalidRequirement as exc:
        reason = str(exc).splitlines()[0]
        raise Malformed(
            f"has {_hidden(text)!r:.120}, which is no requirement: {_hidden(reason):.120}"
        ) from None
    name = shapes.canonical(found.name)
    wanted = Wanted(name, frozenset(map(shapes.canonical, found.extras)), found.marker)
    markers = (found.marker,) if found.marker else ()
    if found.url:
        folder, elsewhere = _place(found.url, base)
        return wanted, Entry(name, at, None, markers=markers, folder=folder, elsewhere=elsewhere)
    version = exact(found.specifier)
    return wanted, Entry(name, at, version, found.specifier, markers, hashes)


def exact(specifier: SpecifierSet) -> str | None:
    """Return the one version that ``specifier`` admits, ``None`` where it may be any of several.

    >>> exact(SpecifierSet("==1.0,<2")), exact(SpecifierSet("==1.*"))
    ('1.0', None)
    """
    for each in specifier:
        if each.operator in ("==", "===") and not each.version.endswith(".*"):
            try:
                return str(Version(each.version))
            except ValueError:  # InvalidVersion is one; === takes anything
                return None
    return None


def is_place(text: str) -> bool:
    """Tell whether ``text`` is a path or an address, and no name of a package."""
    text = text.partition(";")[0]
    return (
        "://" in text.partition(" @ ")[0]
        or text.startswith(("/", ".", "~", "file:"))
        or "/" in text.split("@")[0]
    )


def from_place(text: str, at: str, base: Path) -> Stated:
    """Return what a path or an address in place of a name wants: ``-e ../lib[fast]``, ``git+https://...#egg=lib``.

    Raises:
        Malformed: it does not say whose it is.
    """
    text, _, marker = text.partition(" ;")
    bare, extras = text.strip(), ""
    if found := _EXTRAS.match(bare):
        bare, extras = found["rest"], found["extras"]
    folder, elsewhere = _place(bare, base)
    name = named[1] if (named := _EGG.search(text)) else _name_at(folder, bare)
    if name is None:
        raise Malformed(f"has {elsewhere or bare!r:.120} without a name. Write: name @ {elsewhere or bare}")
    stated = from_requirement(f"{name}[{extras}]{' ;' + marker if marker else ''}", at, base)
    wanted, entry = stated
    return wanted, Entry(entry.name, at, markers=entry.markers, folder=folder, elsewhere=elsewhere)


def _place(url: str, base: Path) -> tuple[Path | None, str]:
    """Return the folder that ``url`` leads to, or else the address, to show."""
    bare = url.partition("#")[0]
    if "://" in bare and not bare.startswith("file:"):
        return None, shapes.address(bare)
    try:
        path = unquote(urlsplit(bare).path) if bare.startswith("file:") else bare
    except ValueError:
        raise Malformed(f"has the address {bare!r:.120}, which is none.") from None
    place = shapes.folder(base, os.path.expanduser(path))
    return (None, str(place)) if place.suffix in (".whl", ".gz", ".zip") else (place, "")


def _name_at(folder: Path | None, text: str) -> str | None:
    if folder is None:
        return _name_of_file(text.partition("#")[0].rpartition("/")[2])
    try:
        with (folder / "pyproject.toml").open("rb") as file:
            raw = tomllib.load(file)
    except (OSError, ValueError):
        return folder.name or None
    tool = shapes.table(shapes.table(raw, "tool"), "poetry")
    return (
        shapes.text(shapes.table(raw, "project"), "name") or shapes.text(tool, "name") or folder.name or None
    )


def _name_of_file(name: str) -> str | None:
    try:
        return str(parse_wheel_filename(name)[0] if name.endswith(".whl") else parse_sdist_filename(name)[0])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _hidden(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
