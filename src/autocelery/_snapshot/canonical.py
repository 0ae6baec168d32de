"""Canonical JSON and digests: one value, one text, one name."""

from __future__ import annotations

import hashlib
import json
import re
from typing import NoReturn

from autocelery.errors import SnapshotInvalid

_DIGEST = re.compile(r"[0-9a-f]{64}")


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of ``value`` that counts.

    Raises:
        ValueError: a text has no UTF-8 form, or a number is not finite.
        TypeError: a value has no JSON form.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(raw: bytes | memoryview) -> str:
    """Return the SHA-256 of ``raw`` in lower-case hex."""
    return hashlib.sha256(raw).hexdigest()


def is_digest(value: object) -> bool:
    """Tell whether ``value`` is the text of a SHA-256 in lower-case hex."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def parse_canonical(raw: bytes, what: str) -> object:
    """Return the value of the canonical JSON ``raw``.

    A second spelling of the same value would give one tree two ids, so
    anything but the canonical text is refused.

    Raises:
        SnapshotInvalid: ``raw`` is not JSON, or not its canonical form; ``what`` says whose it is.
    """
    try:
        value: object = json.loads(raw.decode(), parse_constant=_refuse_constant)
        is_canonical = canonical_json(value) == raw
    except (ValueError, RecursionError) as error:
        raise SnapshotInvalid(f"{what} is not JSON ({error}). Ship the snapshot again.") from None
    if not is_canonical:
        raise SnapshotInvalid(f"{what} is not in canonical form: it was changed on its way. Ship it again.")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
