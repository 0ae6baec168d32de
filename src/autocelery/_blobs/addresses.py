"""The addresses of stores: as they may be shown, and put together again."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

#: What an option of an address is called that is not for showing.
_SECRET = re.compile(r"password|secret|token|credential", re.IGNORECASE)


def without_password(url: str) -> str:
    """Return ``url`` as it may be shown.

    >>> without_password("redis://me:secret@host:6379/0")
    'redis://me:***@host:6379/0'
    """
    parts = urlsplit(url)
    if not parts.scheme:
        return url  # a path
    kept = [(key, value) for key, value in parse_qsl(parts.query) if not _SECRET.search(key)]
    return joined(parts.scheme, _starred(parts.netloc), parts.path, urlencode(kept, safe=":/"))


def joined(scheme: str, netloc: str, path: str, query: str) -> str:
    """Return the address of these parts; urlunsplit drops the empty host of schemes it does not know."""
    return f"{scheme}://{netloc}{path}" + (f"?{query}" if query else "")


def short(text: str) -> str:
    """Return the beginning of what a server or a library said, without a user or password in an address."""
    return re.sub(r"//[^\s/@]*@", "//***@", text.strip())[:200]


def _starred(netloc: str) -> str:
    userinfo, at, host = netloc.rpartition("@")
    user, colon, _password = userinfo.partition(":")
    return f"{user}{':***' if colon else ''}{at}{host}"
