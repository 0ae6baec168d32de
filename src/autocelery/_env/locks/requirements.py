"""``requirements.txt`` as pip reads it: requirements, files that it takes in, constraints, hashes.

https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import codecs
import os
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from autocelery._env.locks import shapes
from autocelery._env.locks.hashes import hashes_of
from autocelery._env.locks.model import Entry, LockFile, Malformed, Mends, Wanted, grouped
from autocelery._env.locks.stated import Stated, from_place, from_requirement, is_place

_COMMENT = re.compile(r"(^|\s+)#.*$")
#: What a file begins with that a shell on Windows wrote: pip freeze > requirements.txt
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_INCLUDE = ("-r", "--requirement")
_CONSTRAIN = ("-c", "--constraint")
_EDITABLE = ("-e", "--editable")
#: Where a requirement's own options begin.
_OPTIONS = re.compile(r"\s--[a-z]")


@dataclass(slots=True)
class _Reading:
    """What was read so far."""

    top: Path
    wanted: list[Wanted] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    places: set[Path] = field(default_factory=set)


def parse(path: Path, project: Path) -> LockFile:
    """Return what the file at ``path``, and those it takes in, say.

    Raises:
        Malformed: a line is none, a file is missing, or some requirements have hashes and others have not.
    """
    reading = _Reading(path.parent)
    _read(path, reading, is_constraint=False)
    _check_hashes(reading)
    mends = Mends(f"mend {path.name}", f"pip install -r {path.name}")
    return LockFile(
        path, project, mends, grouped(reading.entries), tuple(reading.wanted), files=tuple(reading.files)
    )


def _read(path: Path, reading: _Reading, is_constraint: bool) -> None:
    place = shapes.folder(path, "")  # files may take in each other, by way of links too
    if place in reading.places:
        return
    reading.places.add(place)
    try:
        raw = path.read_bytes()
        content = raw.decode("utf-16" if raw.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed(f"is not UTF-8{_of(path, reading)}.") from None
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise Malformed(f"takes in {path}, which cannot be read: {reason}.") from None
    reading.files.append(path)
    for number, line in _lines(content):
        at = f"{_shown(path, reading)}:{number}"
        _take(line, at, path, reading, is_constraint)


def _lines(content: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, those that end in a backslash put together, comments taken off."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(content.splitlines(), 1):
        begun = begun if parts else number
        is_comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not is_comment:
            parts.append(line[:-1])
            continue
        whole = _COMMENT.sub("", "".join([*parts, "" if is_comment else line])).strip()
        parts = []
        if whole:
            yield begun, whole
    if whole := _COMMENT.sub("", "".join(parts)).strip():
        yield begun, whole


def _take(line: str, at: str, path: Path, reading: _Reading, is_constraint: bool) -> None:
    option, value = _option(line)
    if option in (*_INCLUDE, *_CONSTRAIN):
        if "://" in value:
            raise Malformed(f"takes in {value.partition('?')[0]!r:.120} ({at}). Keep that file beside it.")
        included = Path(os.path.normpath(path.parent / value))
        _read(included, reading, is_constraint or option in _CONSTRAIN)
    elif option in _EDITABLE:
        _add(_named(at, lambda: from_place(value, at, path.parent)), reading, is_constraint)
    elif not option:
        _add(_named(at, lambda: _requirement(line, at, path.parent)), reading, is_constraint)
    # Any other option says where packages are from, which is the worker's own affair.


def _named(at: str, read: Callable[[], Stated]) -> Stated:
    """Return what ``read`` returns; what it raises says at which line."""
    try:
        return read()
    except Malformed as exc:
        raise Malformed(f"{exc} ({at})") from None


def _option(line: str) -> tuple[str, str]:
    """Return the option that ``line`` is, and its value; of a requirement neither."""
    if not line.startswith("-"):
        return "", ""
    option, _, value = re.sub(r"[=\s]", " ", line, count=1).partition(" ")
    if option.startswith(("-r", "-c", "-e")) and not option.startswith("--") and len(option) > 2:
        option, value = option[:2], option[2:] + value  # -rbase.txt
    return option, value.strip().strip("\"'")


def _requirement(line: str, at: str, base: Path) -> Stated:
    found = _OPTIONS.search(line)
    text, options = (line[: found.start()], line[found.start() :]) if found else (line, "")
    if is_place(text):
        return from_place(text, at, base)
    return from_requirement(text.strip(), at, base, _hashes(options, text.strip()))


def _hashes(options: str, text: str) -> tuple[str, ...]:
    try:
        words = shlex.split(options)
    except ValueError:
        raise Malformed(f"has options of {text!r:.80} that are none.") from None
    joined = " ".join(words).replace("--hash ", "--hash=").split()
    told = [word.removeprefix("--hash=") for word in joined if word.startswith("--hash=")]
    return hashes_of([(each, each) for each in told], text)


def _add(stated: Stated, reading: _Reading, is_constraint: bool) -> None:
    wanted, entry = stated
    reading.entries.append(entry)
    if not is_constraint:
        reading.wanted.append(wanted)


def _check_hashes(reading: _Reading) -> None:
    """As pip has it: where one has hashes, all need them."""
    hashed = {each.name for each in reading.entries if each.hashes}
    lacking = {each.name for each in reading.wanted} - hashed
    bare = [each for each in reading.entries if each.version and each.name in lacking]
    if hashed and bare:
        raise Malformed(
            f"has hashes for some packages, and none for {bare[0].name} ({bare[0].at}), so pip refuses it. Write "
            "it again: uv pip compile --generate-hashes, or pip-compile --generate-hashes."
        )


def _of(path: Path, reading: _Reading) -> str:
    return "" if path.parent == reading.top and not reading.files else f" in {_shown(path, reading)}"


def _shown(path: Path, reading: _Reading) -> str:
    try:
        return path.relative_to(reading.top).as_posix()
    except ValueError:
        return str(path)
