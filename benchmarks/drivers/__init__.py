"""What runs inside the measured project, each in a process of its own that prints JSON.

A driver gets its arguments as one JSON object and prints its answer as the
last line. The drivers of the peers run in the peers' environments, so nothing
that they import needs more than the standard library and that peer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.project import Project

#: One edit: seconds until the answer, what it had to be, and what it was.
Edit = dict[str, float | int]


def arguments() -> dict[str, Any]:
    """Return what the benchmark asks this driver for."""
    asked: dict[str, Any] = json.loads(sys.argv[1])
    return asked


def reply(answer: object) -> None:
    """Give the answer to the benchmark."""
    print(json.dumps(answer), flush=True)


def time_edits(call: Callable[[], int], *, count: int, first: int) -> list[Edit]:
    """Edit the project ``count`` times and time each, from before the file is written to the answer.

    Args:
        call: what a user does after an edit; returns what the code answered.
        count: how many edits.
        first: the number of the first one, new in this run, so that no answer is right by chance.
    """
    project = Project(Path.cwd())
    edits: list[Edit] = []
    for number in range(first, first + count):
        began = time.perf_counter()
        wanted = project.edit(number)
        got = call()
        edits.append({"seconds": time.perf_counter() - began, "wanted": wanted, "got": got})
    return edits
