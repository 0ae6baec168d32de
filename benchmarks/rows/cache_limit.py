"""Does a worker's cache keep to its limit?"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.report import Figure, judge
from benchmarks.session import Session

LIMIT = 200 * 2**20
ALLOWED = 0.05


def measure(session: Session) -> list[Figure]:
    """Send edits at random through a cache on a file system of its own, and look how much of that is taken."""
    count = session.repeat(10_000, 200)
    folder = session.folder / "cache-limit"
    folder.mkdir()
    with _disk(folder / "disk") as is_own_disk:
        told = session.drive(
            "cache_limit",
            {},
            deadline=14_400,
            folder=str(folder),
            place=str(folder / "disk"),
            count=count,
            limit=LIMIT,
            is_own_disk=is_own_disk,
        )
    after, during = max(told["after"]), told["during"]
    most = max(after, during)
    how = f"at any moment, in blocks of 4 KB: {during / LIMIT:.1%}" if during else "not looked at meanwhile"
    return [
        Figure(
            f"{count:,} snapshots against a cache limit of 200 MB",
            "never over by more than 5 %",
            f"at most {after / LIMIT:.1%} of the limit after a snapshot was laid out; {how}; "
            f"{told['seconds']:.0f} s",
            verdict=judge(most <= LIMIT * (1 + ALLOWED)),
            samples={"after": told["after"], "during": [during]},
        )
    ]


@contextmanager
def _disk(place: Path) -> Iterator[bool]:
    """Make a folder, on a file system of its own where this user may mount one; tell whether it is."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(place)]
    is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)
