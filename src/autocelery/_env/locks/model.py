"""What every format comes down to: entries, what they want, and what the project wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from packaging.markers import InvalidMarker, Marker
from packaging.specifiers import SpecifierSet

ANY = SpecifierSet()


class Malformed(ValueError):
    """A file does not say what its format says it says; the text is the end of a sentence that began with its path."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody needs: a canonical name, and which of its versions do.

    ``version`` is the very one, where a lock has several. ``is_optional`` is
    what only an extra asks for, as poetry writes it.
    """

    name: str
    extras: frozenset[str] = frozenset()
    marker: Marker | None = None
    specifier: SpecifierSet = ANY
    version: str | None = None
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file says of one package.

    ``at`` is where, as people read it: ``requirements.txt:3``. ``version`` is
    ``None`` where it names no single one. The entry holds where one of
    ``markers`` does, or there are none. ``folder`` is where the package's
    source is, ``elsewhere`` an address that is no index, without its password.
    ``wants`` is ``None`` where the file does not say what the package needs.
    A constraint speaks of a package without asking for it.
    """

    name: str
    at: str
    version: str | None = None
    specifier: SpecifierSet = ANY
    markers: tuple[Marker, ...] = ()
    hashes: tuple[str, ...] = ()
    folder: Path | None = None
    elsewhere: str = ""
    wants: tuple[Wanted, ...] | None = None
    extras: Mapping[str, tuple[Wanted, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mends:
    """The next commands: ``again`` writes the file anew, ``install`` makes what is installed here agree with it."""

    again: str
    install: str


@dataclass(frozen=True, slots=True)
class LockFile:
    """A file that says what a project needs.

    ``project`` is the project's folder. ``wanted`` is what the project itself
    needs, not its tools' groups nor its extras. ``is_whole``: whatever an entry
    wants has to be an entry. ``extras`` and ``groups`` are those that markers
    speak of, ``default_groups`` the ones that hold. ``files`` were read for it.
    """

    path: Path
    project: Path
    mends: Mends
    entries: Mapping[str, tuple[Entry, ...]]
    wanted: tuple[Wanted, ...]
    is_whole: bool = False
    extras: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    default_groups: frozenset[str] = frozenset()
    files: tuple[Path, ...] = ()


@lru_cache(maxsize=4096)
def marker_of(text: str) -> Marker:
    """Return the marker that ``text`` is.

    Raises:
        Malformed: it is none.
    """
    try:
        return Marker(text)
    except InvalidMarker:
        newer = " Or the package `packaging` here is too old for it: pip install -U packaging."
        is_newer = "dependency_groups" in text or "extras" in text
        raise Malformed(f"has the marker {text!r}, which is none.{newer if is_newer else ''}") from None


def grouped(entries: list[Entry]) -> dict[str, tuple[Entry, ...]]:
    """Return ``entries`` by their names, in their order."""
    found: dict[str, list[Entry]] = {}
    for each in entries:
        found.setdefault(each.name, []).append(each)
    return {name: tuple(several) for name, several in found.items()}
