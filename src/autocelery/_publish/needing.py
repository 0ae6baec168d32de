"""Which packages a snapshot needs, and which folders travel with it for their sake."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from autocelery._env import adding
from autocelery._env.locks import finding, reading
from autocelery._env.locks.choosing import Elsewhere, Needs, needs_of
from autocelery._env.locks.model import LockFile, Mends
from autocelery._env.pins import canonical_version, installed_state
from autocelery._model import Package, Pin
from autocelery._snapshot.rules import ShipRules
from autocelery.errors import ConfigurationError, LockInvalid

#: What the name of a lock may not hold on the wire.
_ODD = re.compile(r"[^\w .+@/-]")


@dataclass(frozen=True, slots=True)
class Needed:
    """What code needs, and what is to be said of it before it is sent.

    ``source`` is where the versions of ``pins`` are from, as `Lock` has it; ``runtime`` likewise.
    ``path`` is that file, ``several`` are files that were passed over because
    none of them is the one. ``asked`` are the names of the pins that a call asked for.
    """

    pins: tuple[Pin, ...] = ()
    runtime: tuple[Pin, ...] = ()
    source: str = finding.INSTALLED
    path: Path | None = None
    mends: Mends | None = None
    folders: tuple[tuple[str, Path], ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    differing: tuple[tuple[str, str, str], ...] = ()
    unfit: tuple[tuple[str, str], ...] = ()
    several: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


class Needer:
    """Finds what the code of one project needs; what did not change is not worked out again. One caller at a time.

    Args:
        top: the top of the working tree.
    """

    def __init__(self, top: Path) -> None:
        self._top = top
        self._latest: dict[object, tuple[object, Needed]] = {}

    def needed(
        self,
        start: Path,
        rules: ShipRules,
        packages: Iterable[Package],
        outside: Collection[Path] = (),
        runtime: frozenset[str] = frozenset(),
        asked: tuple[str, ...] = (),
    ) -> Needed:
        """Return what is needed, by what the project says or else by what is installed.

        Args:
            start: the folder that the app is imported from.
            rules: the project's.
            packages: what the code imports.
            outside: the folders outside of the working tree that are shipped too: what they say counts as well.
            runtime: what Celery and autocelery are made of here, by canonical names.
            asked: requirements of the call itself, as `adding.read` returns them.

        Raises:
            LockInvalid: a lock is malformed, contradicts itself or another one, is out of date, or names a
                folder that is not there; or what the call asks for does not go together with it.
            ConfigurationError: the project names a lock that is not there; or the call asks for packages, and
                workers are to build none.
        """
        if rules.environment == "worker":
            if asked:
                raise ConfigurationError(
                    f'packages={list(asked)} would have to be installed, and environment = "worker" in '
                    "[tool.autocelery] says that nothing is. Remove one of the two."
                )
            return Needed()
        is_named = rules.lock is not None
        found = finding.named(rules.lock, self._top) if rules.lock else finding.found_for(start, self._top)
        files = [reading.read(found.path, found.project)] if found.path and found.project else []
        if files and not is_named:
            files += _beside(files[0], outside)
        imported = frozenset(each.distribution for each in packages)
        is_alone = rules.environment == "own"
        made_of = (tuple(map(id, files)), imported, runtime, found.several, is_alone, installed_state())
        key = bool(outside), asked
        kept = self._latest.get(key)
        if kept is None or kept[0] != (made_of, files) or not _are_there(kept[1]):
            self._latest[key] = kept = (
                (made_of, files),
                _with_asked(self._worked_out(files, imported, runtime, found.several, is_alone), asked),
            )
        return kept[1]

    def _worked_out(
        self,
        files: list[LockFile],
        imported: frozenset[str],
        runtime: frozenset[str],
        several: tuple[str, ...],
        is_alone: bool,
    ) -> Needed:
        lock = files[0] if files else None
        needs = needs_of(lock, imported)
        for other in files[1:]:
            needs = _together(needs, files[0], other)
        own = {pin.name for pin in needs.pins}
        # What could run the code elsewhere is no reason to refuse it, unless it is what has to.
        complete = needs_of(lock, imported | runtime, left_out={"autocelery"}, has_to_fit=is_alone)
        source = " and ".join(self._shown(each.path) for each in files) or finding.INSTALLED
        return Needed(
            pins=needs.pins,
            runtime=tuple(pin for pin in complete.pins if pin.name not in own),
            source=source[:200],
            path=lock.path if lock else None,
            mends=lock.mends if lock else None,
            folders=needs.folders,
            elsewhere=needs.elsewhere,
            differing=needs.differing,
            unfit=needs.unfit,
            several=several,
        )

    def _shown(self, path: Path) -> str:
        return _ODD.sub("-", os.path.relpath(path, self._top))


def _with_asked(needed: Needed, asked: tuple[str, ...]) -> Needed:
    if not asked:
        return needed
    pins = {pin.name: pin for pin in (*needed.pins, *adding.added(asked, needed.pins))}
    return replace(
        needed,
        pins=tuple(pins[name] for name in sorted(pins)),
        runtime=tuple(pin for pin in needed.runtime if pin.name not in pins),
        asked=tuple(sorted({canonicalize_name(Requirement(each).name) for each in asked})),
    )


def at_their_versions(packages: Iterable[Package], pins: Iterable[Pin]) -> tuple[Package, ...]:
    """Return ``packages`` at the versions that they are pinned at."""
    pinned = {pin.name: pin.version for pin in pins}
    return tuple(
        each
        if (version := pinned.get(canonicalize_name(each.distribution)))
        in (None, canonical_version(each.version))
        else replace(each, version=version)
        for each in packages
    )


def _are_there(needed: Needed) -> bool:
    return all(os.path.isdir(folder) for _, folder in needed.folders)


def _beside(lock: LockFile, outside: Collection[Path]) -> list[LockFile]:
    """Return what folders outside of the tree say that are projects of their own, and that ``lock`` does not cover."""
    covered = {each.folder for several in lock.entries.values() for each in several} | {lock.project}
    found = []
    for folder in outside:
        project = next((each for each in (folder, *folder.parents) if finding.is_project(each)), None)
        if project is None or project in covered:
            continue
        covered.add(project)
        theirs = finding.found_for(folder, project)
        if theirs.path and theirs.project and theirs.path != lock.path:
            found.append(reading.read(theirs.path, theirs.project))
    return found


def _together(needs: Needs, lock: LockFile, other: LockFile) -> Needs:
    """Return ``needs`` with what ``other`` adds.

    Raises:
        LockInvalid: the two give two versions of one package.
    """
    theirs = needs_of(other, ())
    own = {pin.name: pin for pin in needs.pins}
    locked = {pin.name: pin for pin in theirs.pins if pin.name in theirs.locked}
    for name in sorted(needs.locked & locked.keys()):
        if own[name].version != locked[name].version:
            raise LockInvalid(
                f"{lock.path} has {name} {own[name].version}, and {other.path}, whose code is shipped too, has "
                f"{locked[name].version}; one process cannot have both. Lock them together (uv add --editable "
                f'{other.project}), or say which file counts: lock = "{lock.path.name}" in [tool.autocelery].'
            )
    merged = {**own, **{name: pin for name, pin in locked.items() if name not in needs.locked}}
    return replace(
        needs,
        pins=tuple(merged[name] for name in sorted(merged)),
        locked=needs.locked | theirs.locked,
        elsewhere=(*needs.elsewhere, *theirs.elsewhere),
        differing=(*needs.differing, *(each for each in theirs.differing if each[0] not in needs.locked)),
    )
