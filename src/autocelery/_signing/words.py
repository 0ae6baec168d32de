"""Public keys as words, which people pass on and keep: ``<scheme>:<base64>:<comment>``."""

from __future__ import annotations

import base64
import binascii
import getpass
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from autocelery._signing import files

_NOT_IN_A_COMMENT = re.compile(r"[^\w.@+-]+")


def word(scheme: str, raw: bytes, comment: str) -> str:
    """Return the word for the 32 bytes of a public key.

    >>> word("autocelery-ed25519", bytes(3), "me @ home")
    'autocelery-ed25519:AAAA:me-@-home'
    """
    return f"{scheme}:{base64.b64encode(raw).decode()}:{clean_comment(comment)}"


def parsed(scheme: str, text: str) -> tuple[bytes, str]:
    """Return the bytes and the comment, which may be left out, that a word stands for.

    Raises:
        ValueError: it is not one of that scheme.
    """
    found, _, rest = text.strip().partition(":")
    encoded, _, comment = rest.partition(":")
    if found != scheme:
        raise ValueError(f"no {scheme}")
    try:
        return base64.b64decode(encoded, validate=True), clean_comment(comment)
    except binascii.Error as exc:
        raise ValueError(str(exc)) from None


def kept(folder: Path, variable: str) -> Iterator[tuple[str, str]]:
    """Yield each word in the ``.pub`` files of ``folder`` and in ``variable``, with where it was found.

    Raises:
        InvalidKey: others could have changed a file.
        ConfigurationError: one cannot be read.
    """
    if folder.is_dir():
        files.check_guarded(folder)
        for path in sorted(folder.glob("*.pub")):
            lines = files.read_guarded(path).decode(errors="replace").splitlines()
            yield from ((line, str(path)) for line in lines if line.strip() and not line.startswith("#"))
    for each in os.environ.get(variable, "").replace(",", " ").split():
        yield each, variable


def clean_comment(comment: str) -> str:
    """Return ``comment`` without what would end the word that it is a part of."""
    return _NOT_IN_A_COMMENT.sub("-", comment.strip()).strip("-")


def default_comment() -> str:
    """Return whose key one of this user is, for people: ``user@computer``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        user = "user"
    return clean_comment(f"{user}@{platform.node() or 'localhost'}")
