"""From saving one line to having the result of the new code."""

from __future__ import annotations

from benchmarks.report import Figure, judge, p50, quantile, spread
from benchmarks.session import Session

WHAT = "edit to result, stock prefork worker, Redis"
BAR = "p50 ≤ 250 ms, p95 ≤ 600 ms"


def measure(session: Session) -> list[Figure]:
    """Edit one line and call the task, with one client and one worker, which are both running."""
    with session.worker() as (namespace, _):
        told = session.drive(
            "own_edits",
            namespace.environment(),
            count=session.repeat(60, 8),
            warm=3,
            first=session.first(),
        )
    edits = told["edits"]
    seconds = [edit["seconds"] for edit in edits]
    first = [edit["seconds"] for edit in told["first"]]
    wrong = sum(edit["wanted"] != edit["got"] for edit in edits)
    return [
        Figure(
            WHAT,
            BAR,
            f"{spread(seconds)}; wrong answers: {wrong}",
            verdict=judge(p50(seconds) <= 0.25 and quantile(seconds, 0.95) <= 0.6 and not wrong),
            samples={"seconds": seconds},
        ),
        Figure(
            "the first live calls of a worker that has just started: the whole tree, the project's packages",
            "",
            ", then ".join(f"{each:.2f} s" for each in first),
            samples={"seconds": first},
        ),
    ]
