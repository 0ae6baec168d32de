"""Waiting for something to become true: the only place in the tests that may sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


def wait_for(condition: Callable[[], T], deadline: float = 10.0, what: str = "") -> T:
    """Return the first true value of ``condition``.

    Args:
        condition: is called again and again; what it raises is raised.
        deadline: seconds from now.
        what: what is waited for, for the failure.

    Raises:
        AssertionError: it was not true in time.
    """
    end = time.monotonic() + deadline
    pause = _SHORTEST_PAUSE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"Not so within {deadline} s: {what or condition}; last value: {value!r}")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
