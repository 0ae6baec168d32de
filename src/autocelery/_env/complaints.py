"""What uv says when it cannot find what to install, in words that name the mend."""

from __future__ import annotations

import re

_OTHER_PLATFORM = re.compile(r"Because (?P<pin>\S+) has no wheels with a matching (?P<what>\S+(?: ABI)?) tag")
_NOT_THERE = re.compile(r"there is no version of (?P<pin>\S+)|Because (?P<name>\S+) was not found in")
_REFUSED = re.compile(r"An index(?: URL)? \((?P<url>\S+)\)[^()]*?\(?(?P<how>401 Unauthorized|403 Forbidden)")


def why_not(said: str) -> tuple[str, str] | None:
    """Return what uv complains of, as the end of a sentence, and the mend; ``None`` for what has no words here."""
    if found := _REFUSED.search(said):
        return (
            f"its package index {found['url']} answers {found['how']}",
            "Give the worker's user its credentials: in the address that UV_DEFAULT_INDEX or UV_INDEX names, in "
            "UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD, or in ~/.netrc.",
        )
    if found := _OTHER_PLATFORM.search(said):
        return (
            f"{found['pin']} is native code, and its index has no build of it for this {found['what']}, nor its source",
            "Call with a version that has one, or route the call to a worker like the machine where you call from.",
        )
    if found := _NOT_THERE.search(said):
        return (
            f"its package index has no {found['pin'] or found['name']}",
            "Is it from a private index? UV_INDEX there names another one. Or call with a version that it has.",
        )
    return None
