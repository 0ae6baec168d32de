"""Globs as git matches them, byte by byte: its ``wildmatch.c``, as a regular expression."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from functools import lru_cache

Matcher = Callable[[bytes], object]

_STARS = re.compile(rb"\*+")
_PRINTED = bytes(range(32, 127))
_CLASSES = {
    b"alnum": f"{string.ascii_letters}{string.digits}".encode(),
    b"alpha": string.ascii_letters.encode(),
    b"blank": b" \t",
    b"cntrl": bytes([*range(32), 127]),
    b"digit": string.digits.encode(),
    b"graph": _PRINTED[1:],
    b"lower": string.ascii_lowercase.encode(),
    b"print": _PRINTED,
    b"punct": string.punctuation.encode(),
    b"space": b" \t\n\r",  # git's own table, which has no form feed
    b"upper": string.ascii_uppercase.encode(),
    b"xdigit": string.hexdigits.encode(),
}


class _MatchesNothing(Exception):
    """The glob ends in the middle of something. Git finds it equal to no path."""


@lru_cache(maxsize=4096)
def matcher(glob: bytes, is_name: bool) -> Matcher | None:
    """Return what tells whether a path is what ``glob`` means, all of it; ``None`` if no path can be.

    Args:
        glob: without the slashes at its ends.
        is_name: whether it is matched with single names. Else ``**`` means any folders.
    """
    try:
        pattern = b"".join(_translated(glob, is_name))
    except _MatchesNothing:
        return None
    return re.compile(pattern, re.DOTALL).fullmatch


def _translated(glob: bytes, is_name: bool) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        if stars := _STARS.match(glob, at):
            part, at = _many(glob, stars, is_name)
        elif char == b"?":
            part, at = b"[^/]", at + 1
        elif char == b"[":
            part, at = _one_of(glob, at + 1)
        else:
            byte, at = _itself(glob, at)
            part = re.escape(byte)
        parts.append(part)
    return parts


def _many(glob: bytes, stars: re.Match[bytes], is_name: bool) -> tuple[bytes, int]:
    """Translate asterisks, and the slash that ``**/`` takes with it; tell where the next byte is."""
    start, end = stars.span()
    # Before 2.52, git took a**/b for a and **/b: https://github.com/git/git/commit/1940a02dc1
    is_alone = not start or glob[start - 1 : start] == b"/"
    if is_name or not is_alone or end - start == 1:
        return b"[^/]*", end
    if glob.startswith(b"/", end):
        return b"(?:.*/)?", end + 1
    if end == len(glob) or glob.startswith(b"\\/", end):
        return b".*", end
    return b"[^/]*", end


def _itself(glob: bytes, at: int) -> tuple[bytes, int]:
    """Return the byte at ``at``, or the one after a backslash there, and where the next one is."""
    at += glob.startswith(b"\\", at)
    if at >= len(glob):
        raise _MatchesNothing
    return glob[at : at + 1], at + 1


def _one_of(glob: bytes, at: int) -> tuple[bytes, int]:
    """Translate what stands in brackets, of which the first is before ``at``."""
    is_negated = glob.startswith((b"!", b"^"), at)
    at += is_negated
    first, members, previous = at, set[int](), b""
    while at == first or not glob.startswith(b"]", at):
        name = _class_at(glob, at)
        if name is not None:
            members |= set(_class(name))
            previous, at = b"", at + len(name) + 4
        elif previous and glob.startswith(b"-", at) and glob[at + 1 : at + 2] not in (b"", b"]"):
            last, at = _itself(glob, at + 1)
            members |= set(range(previous[0], last[0] + 1))
            previous = b""
        else:
            previous, at = _itself(glob, at)
            members.add(previous[0])
    members = (set(range(256)) - members if is_negated else members) - {ord("/")}
    return b"[" + b"".join(
        b"\\x%02x" % each for each in sorted(members)
    ) + b"]" if members else b"(?!)", at + 1


def _class_at(glob: bytes, at: int) -> bytes | None:
    """Return the name of the class at ``at``, such as the one of ``[:alpha:]``, if there is one."""
    if not glob.startswith(b"[:", at):
        return None
    end = glob.find(b"]", at + 2)
    if end < 0:
        raise _MatchesNothing
    name = glob[at + 2 : end]
    return name[:-1] if name.endswith(b":") else None


def _class(name: bytes) -> bytes:
    if name not in _CLASSES:
        raise _MatchesNothing
    return _CLASSES[name]
