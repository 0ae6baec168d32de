"""Which file says what a project needs: the best that lies nearest to its code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from autocelery._env.locks import poetry, pylock, pyproject, reading, uv
from autocelery._env.locks.model import Malformed
from autocelery.errors import ConfigurationError, LockInvalid

#: What `[tool.autocelery] lock` is where no file counts.
INSTALLED = "installed"
_PYLOCK = re.compile(r"pylock\.[^.]+\.toml")
_REQUIREMENTS = re.compile(r"requirements[^/]*\.txt")
#: What a file's name says that is for those who work on the project.
_ASIDE = re.compile(
    r"dev|test|doc|lint|mypy|typing|types|format|style|commit|build|release|bench|example|optional|extra|min"
    r"|\bci\b|\bold"
)


@dataclass(frozen=True, slots=True)
class Found:
    """The file that counts, and the folder of the project that it speaks of; ``several`` that were passed over."""

    path: Path | None = None
    project: Path | None = None
    several: tuple[str, ...] = ()


def named(setting: str, top: Path) -> Found:
    """Return the file that ``[tool.autocelery] lock`` in ``top``'s pyproject.toml names.

    Raises:
        ConfigurationError: there is none.
    """
    if setting == INSTALLED:
        return Found()
    path = Path(os.path.normpath(top / setting))
    if not path.is_file():
        raise ConfigurationError(
            f"tool.autocelery.lock in {top / pyproject.NAME} is {setting!r}, and {path} is no file. Name a lock "
            f'file relative to that folder, or write "{INSTALLED}".'
        )
    return Found(path, path.parent)


def found_for(start: Path, top: Path) -> Found:
    """Return the file that counts for the code in the folder ``start``.

    From there up to ``top``, the first folder that has one; of several in it
    uv.lock, pylock.toml, poetry.lock, requirements.txt, pyproject.toml, in that
    order. The uv.lock of a workspace counts for its members.

    Raises:
        LockInvalid: a file that has to be looked into is malformed.
    """
    several: tuple[str, ...] = ()
    for folder in _upwards(start, top):
        names = _names(folder)
        path, passed = _best(folder, names)
        several = several or passed
        if path is not None and path.name not in (uv.NAME,) and pyproject.NAME in names:
            path = _of_workspace(folder) or path
        if path is not None:
            return Found(path, folder, several)
    return Found(several=several)


def is_project(folder: Path) -> bool:
    """Tell whether ``folder`` is the top of a project."""
    return any(
        (folder / each).exists() for each in (uv.NAME, pyproject.NAME, "setup.py", "requirements.txt", ".git")
    )


def _upwards(start: Path, top: Path) -> Iterator[Path]:
    if start != top and top not in start.parents:
        start = top
    yield start
    for folder in start.parents:
        if start == top or top not in (folder, *folder.parents):
            return
        yield folder


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _best(folder: Path, names: frozenset[str]) -> tuple[Path | None, tuple[str, ...]]:
    if uv.NAME in names:
        return folder / uv.NAME, ()
    locks, passed = _one_of(names, pylock.NAME, _PYLOCK)
    if locks:
        return folder / locks, ()
    if poetry.NAME in names:
        return folder / poetry.NAME, ()
    listed, more = _one_of(names, "requirements.txt", _REQUIREMENTS)
    if listed:
        return folder / listed, passed
    place = folder / pyproject.NAME
    return (
        place if pyproject.NAME in names and _says(place, reading.signature_of(place)) else None
    ), passed or more


def _one_of(
    names: frozenset[str], plain: str, pattern: re.Pattern[str]
) -> tuple[str | None, tuple[str, ...]]:
    """Return ``plain`` where it is there, else the only one that ``pattern`` matches; several are passed over."""
    if plain in names:
        return plain, ()
    found = sorted(each for each in names if pattern.fullmatch(each) and not _ASIDE.search(each))
    return (found[0], ()) if len(found) == 1 else (None, tuple(found))


@lru_cache(maxsize=64)
def _says(place: Path, _signature: object) -> bool:
    return _understood(place, pyproject.says)


def _of_workspace(project: Path) -> Path | None:
    """Return the lock above ``project`` that has it as a member."""
    for folder in project.parents:
        place = folder / uv.NAME
        signature = reading.signature_of(place)
        if signature is not None and _has_member(place, project, signature):
            return place
    return None


@lru_cache(maxsize=64)
def _has_member(place: Path, project: Path, _signature: object) -> bool:
    return _understood(place, lambda raw: uv.is_member(raw, place, project))


def _understood(place: Path, question: Callable[[Mapping[str, object]], bool]) -> bool:
    try:
        return question(reading.toml(place))
    except Malformed as exc:
        raise LockInvalid(f"{place} {exc}") from None
