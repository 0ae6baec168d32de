"""What ``pyproject.toml`` says that a project needs: ``[project]``, or else ``[tool.poetry]``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from packaging.markers import Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from autocelery._env.locks import shapes
from autocelery._env.locks.model import ANY, Entry, LockFile, Malformed, Mends, Wanted, grouped, marker_of
from autocelery._env.locks.stated import Stated, exact, from_requirement

NAME = "pyproject.toml"
MENDS = Mends("mend pyproject.toml", "pip install -e .")
_OPERATOR = re.compile(r"(?P<operator>\^|~(?!=))\s*(?P<version>[0-9][0-9A-Za-z.+-]*)$")


def parse(path: Path, project: Path, raw: Mapping[str, object]) -> LockFile:
    """Return what ``raw``, the TOML of ``path``, asks for; it pins what it names by one version only.

    Raises:
        Malformed: it is not written as it has to be.
    """
    stated = stated_in(raw, path)
    return LockFile(
        path, project, MENDS, grouped([each for _, each in stated]), tuple(each for each, _ in stated)
    )


def says(raw: Mapping[str, object]) -> bool:
    """Tell whether a project states what it needs there."""
    tool = shapes.table(shapes.table(raw, "tool"), "poetry")
    return "dependencies" in shapes.table(raw, "project") or "dependencies" in tool


def stated_in(raw: Mapping[str, object], path: Path) -> list[Stated]:
    """Return what the project needs: neither its extras nor its tools' groups.

    Raises:
        Malformed: it is not written as it has to be.
    """
    project, tool = shapes.table(raw, "project"), shapes.table(raw, "tool")
    if "dependencies" not in project:
        return list(of_poetry(shapes.table(shapes.table(tool, "poetry"), "dependencies"), path))
    sources = shapes.table(shapes.table(tool, "uv"), "sources")
    places = {shapes.canonical(name): sources[name] for name in sources}
    return [
        _sourced(from_requirement(text, f"{path.name}, {text:.60}", path.parent), places, path)
        for text in shapes.texts(project, "dependencies")
    ]


def _sourced(stated: Stated, places: Mapping[str, object], path: Path) -> Stated:
    """Put what ``[tool.uv.sources]`` says of a package in place of what an index has."""
    wanted, entry = stated
    source = places.get(entry.name)
    if not isinstance(source, Mapping):
        return stated
    folder = shapes.text(source, "path")
    address = next((shapes.text(source, key) for key in ("git", "url") if key in source), None)
    if folder:
        return wanted, replace(entry, version=None, folder=shapes.folder(path.parent, folder))
    return (wanted, replace(entry, version=None, elsewhere=shapes.address(address))) if address else stated


def of_poetry(dependencies: Mapping[str, object], path: Path) -> Iterator[Stated]:
    """Yield what a table of poetry's asks for on this Python: in ``pyproject.toml`` or of a package in the lock.

    Raises:
        Malformed: it is not written as it has to be.
    """
    for key, value in dependencies.items():
        if key == "python":
            continue
        for each in value if isinstance(value, list) else [value]:
            told = {"version": each} if isinstance(each, str) else each
            if not isinstance(told, Mapping):
                raise Malformed(f"has {key} = {each!r:.60}, which is no dependency.")
            python = shapes.text(told, "python")
            if python is None or specifier_of(python).contains(".".join(map(str, sys.version_info[:3]))):
                yield _of_poetry(shapes.canonical(key), told, path)


def _of_poetry(name: str, told: Mapping[str, object], path: Path) -> Stated:
    specifier = specifier_of(shapes.text(told, "version") or "*")
    marker = _marker(told)
    folder = shapes.text(told, "path")
    address = next((shapes.text(told, key) for key in ("git", "url") if key in told), None)
    extras = frozenset(map(shapes.canonical, shapes.texts(told, "extras")))
    wanted = Wanted(name, extras, marker, specifier, is_optional=told.get("optional") is True)
    return wanted, Entry(
        name,
        f"{path.name}, {name}",
        exact(specifier),
        specifier,
        markers=(marker,) if marker else (),
        folder=shapes.folder(path.parent, folder) if folder else None,
        elsewhere=shapes.address(address) if address else "",
    )


def _marker(told: Mapping[str, object]) -> Marker | None:
    found = shapes.text(told, "markers")
    platform = shapes.text(told, "platform")
    if platform and re.fullmatch(r"[a-z0-9]+", platform):
        found = f"({found}) and sys_platform == '{platform}'" if found else f"sys_platform == '{platform}'"
    return marker_of(found) if found else None


def specifier_of(text: str) -> SpecifierSet:
    """Return poetry's constraint as PEP 440 has it; one of several alternatives admits anything.

    >>> str(specifier_of("^0.2.3"))
    '<0.3,>=0.2.3'
    """
    if "|" in text or text.strip() in ("*", ""):
        return ANY
    parts = [_plain(part) for part in re.sub(r"([<>=!~^])\s+", r"\1", text).replace(",", " ").split()]
    try:
        return SpecifierSet(",".join(parts))
    except InvalidSpecifier:
        raise Malformed(f"has the constraint {text!r:.80}, which is none.") from None


def _plain(part: str) -> str:
    found = _OPERATOR.match(part)
    if found is None:
        return f"=={part}" if part[:1].isdigit() else part
    numbers = [int(each) for each in re.findall(r"\d+", re.split(r"[^0-9.]", found["version"])[0])]
    if found["operator"] == "~":
        kept = min(len(numbers), 2)
    else:
        kept = next((place for place, number in enumerate(numbers, 1) if number), len(numbers))
    beyond = [*numbers[: kept - 1], numbers[kept - 1] + 1]
    return f">={found['version']},<{'.'.join(map(str, beyond))}"
