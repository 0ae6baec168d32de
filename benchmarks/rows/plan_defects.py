"""What ``autocelery plan`` finds before anything is sent: forty defects, seeded one by one."""

from __future__ import annotations

import sys

from benchmarks.defects import running
from benchmarks.fleet import REDIS_URL
from benchmarks.report import Figure, judge
from benchmarks.session import Session

#: How many of the forty have to be found.
BAR = 36


def measure(session: Session) -> list[Figure]:
    """Run a plan on each defect, against workers of its own."""
    folder = session.folder / "defects"
    folder.mkdir()
    measured = running.measure(folder, REDIS_URL)
    missed = [defect.what for defect, told in measured.told if not told.finds(defect)]
    for what in missed:
        print(f"  not found: {what}", file=sys.stderr)
    found, every = len(measured.found), len(measured.told)
    is_right = not measured.was_sent and not measured.sound.problems
    said = f"; not found: {', '.join(missed)}" if missed else ""
    sent = "something" if measured.was_sent else "nothing"
    return [
        Figure(
            "`plan` on forty seeded defects, each in a small project of its own",
            f"≥ {BAR} found, nothing sent, no alarm without a defect",
            f"{found} of {every} found; sent: {sent}; alarms without a defect: {len(measured.sound.problems)}{said}",
            verdict=judge(found >= BAR and is_right),
            samples={"found": [float(told.finds(defect)) for defect, told in measured.told]},
        )
    ]
