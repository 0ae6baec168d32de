"""What one edit sends to the broker and the store, counted by a proxy in front of Redis."""

from __future__ import annotations

from benchmarks.fleet import REDIS_URL
from benchmarks.report import Figure, judge, p50
from benchmarks.session import Session

WHAT = "bytes from the client to broker and store"


def measure(session: Session) -> list[Figure]:
    """Count everything that the client sends, the waiting for the result too; the worker is not counted."""
    with session.worker() as (namespace, _):
        counts = session.drive(
            "wire_edits",
            namespace.environment(),
            count=session.repeat(20, 4),
            first=session.first(),
            url=REDIS_URL,
        )
    whole = counts["first"][0]
    return [
        _figure(f"{WHAT}, one edit", 8_192, counts["edited"]),
        _figure(f"{WHAT}, nothing changed", 2_048, counts["unchanged"]),
        Figure(f"{WHAT}, the first call of all: the whole tree", "", f"{whole / 1e6:.2f} MB"),
    ]


def _figure(what: str, bar: int, counted: list[list[float]]) -> Figure:
    sent, received = [each[0] for each in counted], [each[1] for each in counted]
    return Figure(
        what,
        f"≤ {bar // 1024} KB",
        f"p50 {p50(sent):.0f} bytes ({min(sent)} to {max(sent)}, n={len(sent)}); answers: p50 {p50(received):.0f}",
        verdict=judge(max(sent) <= bar),
        samples={"sent": sent, "received": received},
    )
