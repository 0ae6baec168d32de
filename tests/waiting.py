"""Waiting for something to become true: the only place in the tests that may sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds for what has to come, where how fast it comes is not what is tested: far more than it takes on a busy
#: machine, so that only what never comes uses them up. Any other limit is a promise, and says which.
PATIENCE = 60.0

_SHORTEST_PAUSE = 0.002
_LONGEST_PAUSE = 0.1


def wait_for(condition: Callable[[], T], deadline: float = PATIENCE, what: str = "") -> T:
    """Return the first true value of ``condition``.

    Args:
        condition: is called again and again; what it raises is raised.
        deadline: seconds from now; another one than that for everything is a promise that the test holds.
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
