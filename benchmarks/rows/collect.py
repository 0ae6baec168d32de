"""How long it takes to find out that nothing changed in the tree, and to look at it for the first time."""

from __future__ import annotations

from benchmarks.fleet import Namespace
from benchmarks.report import Figure, judge, p50, spread
from benchmarks.session import Session


def measure(session: Session) -> list[Figure]:
    """Time the collector in one client process; no worker runs."""
    namespace = Namespace.new(session.folder)
    try:
        seconds = session.drive("collect_times", namespace.environment(), count=session.repeat(30, 5))
    finally:
        namespace.clean()
    return [
        _figure("finding that nothing changed in 2,000 files", 0.050, seconds["unchanged"]),
        _figure("the same, with nothing remembered (cold)", 0.300, seconds["cold"]),
        _figure("the same, first thing in a new process", None, seconds["remembered"]),
        _figure(
            "`auto.snapshot()` of an unchanged tree, with all that it asks the store",
            None,
            seconds["snapshot"],
        ),
    ]


def _figure(what: str, bar: float | None, seconds: list[float]) -> Figure:
    figure = Figure(what, "", spread(seconds), samples={"seconds": seconds})
    if bar is None:
        return figure
    verdict = judge(p50(seconds) <= bar)
    return Figure(what, f"≤ {bar * 1000:.0f} ms", figure.measured, verdict=verdict, samples=figure.samples)
