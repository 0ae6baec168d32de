"""A 1 GB file beside the code: what it costs first, with one byte changed, and unchanged."""

from __future__ import annotations

from benchmarks.drivers.data_file import NAME
from benchmarks.fleet import REDIS_URL
from benchmarks.report import Figure, judge, p50, spread
from benchmarks.session import Session

SIZE = 2**30
MOST_SENT = 2 * 2**20


def measure(session: Session) -> list[Figure]:
    """Time the first call with the file and those after an edit of it, then count bytes from another process."""
    size = SIZE // 16 if session.is_quick else SIZE
    what = f"a file of {size / 2**20:,.0f} MB"
    data = session.project.top / "data" / NAME
    try:
        with session.worker() as (namespace, _):
            arguments = {"size": size, "count": session.repeat(5, 2), "url": REDIS_URL}
            told = session.drive("data_file", namespace.environment(), what="first", **arguments)
            sent = session.drive("data_file", namespace.environment(), what="edits", **arguments)
    finally:
        data.unlink(missing_ok=True)
    first, changed, unchanged = told["first snapshot"], told["changed"], told["unchanged"]
    return [
        Figure(
            f"{what}, read and sent to Redis for the first time; then the worker fetches it",
            "",
            f"{first:.1f} s ({size / 2**20 / first:.0f} MB/s); {told['first call']:.1f} s to the result",
            samples={"seconds": [first, told["first call"]]},
        ),
        Figure(
            f"{what}, one byte changed: bytes from the client to broker and store",
            "≤ 2 MB",
            f"p50 {p50(sent) / 2**20:.2f} MB ({min(sent)} to {max(sent)} bytes, n={len(sent)}); "
            f"wrong bytes on the worker: {told['wrong']}",
            verdict=judge(max(sent) <= MOST_SENT and not told["wrong"]),
            samples={"sent": sent},
        ),
        Figure(f"{what}, one byte changed, to the result", "", spread(changed), samples={"seconds": changed}),
        Figure(
            f"`auto.snapshot()` with {what} that is unchanged",
            "≤ 50 ms",
            f"{spread(unchanged)}; a live call: {spread(told['unchanged call'])}",
            verdict=judge(p50(unchanged) <= 0.05),
            samples={"snapshot": unchanged, "call": told["unchanged call"]},
        ),
    ]
