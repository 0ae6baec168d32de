"""JSON as kombu writes it: dates, decimals and UUIDs come back as what they were."""

from __future__ import annotations

from typing import Any

from kombu.utils import json


def dumps(value: object) -> str:
    """Return ``value`` as a text, keys sorted.

    Raises:
        TypeError: it holds what JSON cannot carry.
        ValueError: it holds itself.
    """
    return str(json.dumps(value, sort_keys=True))  # type: ignore[no-untyped-call]


def loads(text: str) -> Any:
    """Return the value of a text.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text)  # type: ignore[no-untyped-call]
