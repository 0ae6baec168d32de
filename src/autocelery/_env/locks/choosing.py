"""From what a project says, and what its code imports, to packages at one version each, for this interpreter."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from autocelery._env.comparing import is_compatible, needs_of_celery
from autocelery._env.locks.here import distribution, edited_at, entry_of, version_of
from autocelery._env.locks.model import ANY, Entry, LockFile, Wanted
from autocelery._env.pins import FAMILY, requirements_of
from autocelery._model import Pin
from autocelery.errors import LockInvalid

#: What tools leave out of locks, and every environment has.
_UNSAFE = frozenset({"distribute", "pip", "setuptools", "wheel"})


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A package that no index has: it came from the address or the file ``place``, and is not built on workers."""

    name: str
    version: str | None
    place: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What code needs.

    ``locked`` are the names of those ``pins`` whose version a file gives; the
    others are at the versions that are installed here. ``folders`` hold the
    source of packages that travel as code. ``differing`` are those of another
    major version here: name, locked, installed. ``unfit`` is what the project asks
    for without a version, and is here in one that it does not admit: where it
    is stated, and what is here. What is not here at all no task can need that runs here.
    """

    pins: tuple[Pin, ...] = ()
    locked: frozenset[str] = frozenset()
    folders: tuple[tuple[str, Path], ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    differing: tuple[tuple[str, str, str], ...] = ()
    unfit: tuple[tuple[str, str], ...] = ()


def needs_of(
    lock: LockFile | None,
    imported: Collection[str],
    left_out: Collection[str] = FAMILY,
    has_to_fit: bool = True,
) -> Needs:
    """Return what the project needs, and what the distributions that its code imports need.

    Args:
        lock: what the project says; ``None``: what is installed counts.
        imported: names of distributions.
        left_out: canonical names of packages that the worker has itself.
        has_to_fit: whether what is imported has to be here in a version that the project admits;
            else the one that is here is taken.

    Raises:
        LockInvalid: the lock contradicts itself, does not have all that it needs, or a folder of it is not there.
    """
    walk = _Walk(lock, left_out, has_to_fit)
    if lock is not None:
        walk.follow_project(lock)
    walk.follow_imports(imported)
    return walk.result()


class _Walk:
    """Follows requirements, each package once, extras as they come up."""

    def __init__(self, lock: LockFile | None, left_out: Collection[str], has_to_fit: bool) -> None:
        self._lock = lock
        self._has_to_fit = has_to_fit
        self._left_out = left_out
        #: What the worker's Celery consists of and needs: in which versions is that Celery's to say.
        self._of_family = {each.name for each in needs_of_celery(left_out)} if "celery" in left_out else set()
        self._is_of_other_celery = lock is not None and _has_other_celery(lock)
        self._chosen: dict[str, Entry | None] = {}
        self._from_lock: set[str] = set()
        self._unfit: dict[str, tuple[str, str]] = {}
        self._here: dict[str, metadata.Distribution | None] = {}
        self._asked: set[tuple[str, str]] = set()
        #: Whether what is followed is imported: then it has to be one that does.
        self._is_imported = False

    def follow_project(self, lock: LockFile) -> None:
        """Take in what the project itself wants; of a list without a graph, what holds on this platform."""
        project = Entry("the project", lock.path.name)
        for wanted in lock.wanted:
            if lock.is_whole:
                self._follow(wanted, project)
            elif wanted.name not in self._of_family and self._applying(lock.entries[wanted.name], wanted):
                self._follow(wanted, None)

    def follow_imports(self, imported: Collection[str]) -> None:
        """Take in distributions that the code imports; what the project does not ask for may be in its lock too."""
        self._asked, self._is_imported = set(), True
        for name in sorted(imported):
            self._follow(Wanted(canonicalize_name(name)), by=None)

    def _follow(self, wanted: Wanted, by: Entry | None) -> None:
        """Take in ``wanted``, which ``by`` of the lock wants, or the project, or something installed."""
        waiting = [(wanted, by)]
        while waiting:
            wanted, by = waiting.pop()
            name = wanted.name
            if name in self._left_out or not self._holds(wanted):
                continue
            if name not in self._chosen:
                self._chosen[name] = self._choose(wanted, by)
            self._check(wanted, by)
            self._check_installed(name)
            for extra in ("", *sorted(wanted.extras)):
                if (name, extra) not in self._asked:
                    self._asked.add((name, extra))
                    waiting += self._wants(name, extra)

    def result(self) -> Needs:
        """Return what was taken in."""
        chosen = {name: entry for name, entry in sorted(self._chosen.items()) if entry is not None}
        pinned = {name: e for name, e in chosen.items() if e.version and not e.folder and not e.elsewhere}
        locked = frozenset(self._from_lock & pinned.keys())
        return Needs(
            pins=tuple(Pin(name, str(each.version), each.hashes) for name, each in pinned.items()),
            locked=locked,
            folders=tuple((name, folder) for name, each in chosen.items() if (folder := self._beside(each))),
            elsewhere=tuple(
                Elsewhere(name, each.version, each.elsewhere)
                for name, each in chosen.items()
                if each.elsewhere
            ),
            differing=tuple(
                (name, str(pinned[name].version), here)
                for name in sorted(locked)
                if (here := self._version_here(name)) and not is_compatible(here, str(pinned[name].version))
            ),
            unfit=tuple(self._unfit.values()),
        )

    def _beside(self, entry: Entry) -> Path | None:
        """Return the folder with its source, unless it is the project's own."""
        return None if self._lock is not None and entry.folder == self._lock.project else entry.folder

    def _holds(self, wanted: Wanted) -> bool:
        return wanted.marker is None or wanted.marker.evaluate({"extra": ""})

    def _wants(self, name: str, extra: str) -> Iterator[tuple[Wanted, Entry | None]]:
        """Yield what a package wants: as the lock has it, else as what is installed here says."""
        entry = self._chosen[name]
        if entry is not None and entry.wants is not None:
            for each in entry.extras.get(extra, ()) if extra else entry.wants:
                if not each.is_optional:
                    yield each, entry
            return
        installed = self._installed(name)
        for required in requirements_of(installed, extra) if installed else ():
            yield Wanted(required.name, frozenset(required.extras)), None

    def _choose(self, wanted: Wanted, by: Entry | None) -> Entry | None:
        lock = self._lock
        if self._is_of_other_celery and wanted.name in self._of_family:
            return self._as_installed(wanted.name)
        several = lock.entries.get(wanted.name, ()) if lock else ()
        found = self._applying(several, wanted)
        if lock is None or not found:
            if lock is not None and lock.is_whole and by is not None and wanted.name not in _UNSAFE:
                self._fail(
                    f"{by.name} needs {_shown(wanted)}, which it does not have for this Python and platform"
                )
            return self._as_installed(wanted.name)
        entry = self._merged(self._preferred(found))
        self._from_lock.add(wanted.name)
        if entry.folder is not None and not os.path.isdir(entry.folder):
            self._fail(f"takes {entry.name} from {entry.folder}, which is not there ({entry.at})")
        if entry.version is None and entry.folder is None and not entry.elsewhere:
            return self._loose(entry)
        installed = self._installed(entry.name)
        return replace(entry, folder=entry.folder or (edited_at(installed) if installed else None))

    def _applying(self, several: tuple[Entry, ...], wanted: Wanted) -> list[Entry]:
        """Return the entries that hold here; of what is imported, also what only an extra or a group asks for."""
        if wanted.version is not None:
            several = tuple(each for each in several if each.version == wanted.version)
        found = [each for each in several if self._applies(each, frozenset(), is_any=False)]
        lock = self._lock
        if found or not self._is_imported or lock is None:
            return found
        return [each for each in several if self._applies(each, lock.extras, is_any=True)]

    def _applies(self, entry: Entry, extras: frozenset[str], is_any: bool) -> bool:
        assert self._lock is not None
        groups = self._lock.groups | self._lock.default_groups if is_any else self._lock.default_groups
        told: dict[str, str | frozenset[str]] = {"extras": extras, "dependency_groups": groups}
        return not entry.markers or any(
            marker.evaluate({**told, "extra": extra}) for marker in entry.markers for extra in ("", *extras)
        )

    def _preferred(self, found: list[Entry]) -> list[Entry]:
        """Return, of what the code imports and the lock has once for each of several extras, that which is here."""
        if self._lock is None or not self._lock.is_whole or not self._is_imported:
            return found
        here = self._version_here(found[0].name)
        return [each for each in found if each.version == here] or found

    def _merged(self, found: list[Entry]) -> Entry:
        """Return one entry for several that hold at once: a requirement and its constraint, say."""
        first = next((each for each in found if each.version), found[0])
        for each in found:
            if each.version and each.version != first.version:
                self._fail(
                    f"has {first.name} {first.version} ({first.at}) and {each.version} ({each.at}) at once"
                )
            if first.version and not each.specifier.contains(first.version, prereleases=True):
                self._fail(
                    f"has {first.name} {first.version} ({first.at}) and {each.specifier} ({each.at}) at once"
                )
        places = [each for each in found if each.folder or each.elsewhere]
        specifier = SpecifierSet(",".join(str(each.specifier) for each in found if each.specifier is not ANY))
        hashes = sorted({told for each in found for told in each.hashes})
        return replace(places[0] if places else first, specifier=specifier, hashes=tuple(hashes))

    def _loose(self, entry: Entry) -> Entry | None:
        """Return the installed version, where it is one of those that do."""
        installed = self._as_installed(entry.name)
        self._from_lock.discard(entry.name)
        if installed is None:
            return None
        is_code = bool(installed.folder or installed.elsewhere)
        if (
            is_code
            or installed.version is None
            or entry.specifier.contains(installed.version, prereleases=True)
        ):
            return replace(installed, hashes=entry.hashes)
        if not self._has_to_fit:
            return installed
        asked = f"{entry.name}{entry.specifier} ({entry.at})"
        self._unfit[entry.name] = (asked, f"{installed.version} is installed here")
        return None

    def _check_installed(self, name: str) -> None:
        """Refuse to leave out what the code imports, and is here in a version that the project does not admit."""
        if not self._is_imported or name not in self._unfit:
            return
        assert self._lock is not None
        asked, here = self._unfit[name]
        raise LockInvalid(
            f"{self._lock.path} asks for {asked}, the code imports it, and {here}. Run: {self._lock.mends.install}. "
            'To run with what is installed all the same, set lock = "installed" in [tool.autocelery].'
        )

    def _check(self, wanted: Wanted, by: Entry | None) -> None:
        """Refuse another version than the lock itself says is needed."""
        chosen = self._chosen[wanted.name]
        if by is None or chosen is None or chosen.version is None or chosen.folder or chosen.elsewhere:
            return
        is_other = wanted.version is not None and wanted.version != chosen.version
        if is_other or not wanted.specifier.contains(chosen.version, prereleases=True):
            self._fail(f"has {chosen.name} {chosen.version}, and {by.name} there needs {_shown(wanted)}")

    def _installed(self, name: str) -> metadata.Distribution | None:
        if name not in self._here:
            self._here[name] = distribution(name)
        return self._here[name]

    def _as_installed(self, name: str) -> Entry | None:
        installed = self._installed(name)
        return entry_of(name, installed) if installed else None

    def _version_here(self, name: str) -> str | None:
        installed = self._installed(name)
        return version_of(installed) if installed else None

    def _fail(self, what: str) -> None:
        assert self._lock is not None
        raise LockInvalid(f"{self._lock.path} {what}. Run: {self._lock.mends.again}")


def _has_other_celery(lock: LockFile) -> bool:
    """Tell whether the lock has Celery, and what that needs, in another version than is here."""
    locked = {each.version for each in lock.entries.get("celery", ())} - {None}
    installed = distribution("celery")
    return bool(locked) and installed is not None and version_of(installed) not in locked


def _shown(wanted: Wanted) -> str:
    return f"{wanted.name} {wanted.version}" if wanted.version else f"{wanted.name}{wanted.specifier}"
