"""A thousand edits in a row: does anything on the worker's side grow?"""

from __future__ import annotations

from benchmarks.report import Figure, judge, p50, quantile, spread
from benchmarks.session import Session

WHAT = "1,000 edits in a row"
#: What may be between the first samples after the 50th edit and the last ones: a share, and a floor in its unit.
ALLOWED_SHARE = 0.05
ALLOWED_FLOOR = {
    "processes": 1.0,
    "descriptors": 8.0,
    "disk MB": 2.0,
    "worker MB": 2.0,
    "agent MB": 2.0,
    "zygote MB": 2.0,
}


def measure(session: Session) -> list[Figure]:
    """Edit and call, sampling processes, descriptors, memory and disk of worker, agent, zygote and hosts."""
    with session.worker() as (namespace, worker):
        told = session.drive(
            "many_edits",
            namespace.environment(),
            count=session.repeat(1000, 100),
            every=10,
            first=session.first(),
            pid=worker.pid,
            prefix=namespace.prefix,
            home=str(namespace.home),
        )
    series = {
        name: [sample[name] for sample in told["samples"] if sample["edits"] > 50] for name in ALLOWED_FLOOR
    }
    grown = {name: _growth(name, values) for name, values in series.items()}
    seconds = [edit["seconds"] for edit in told["edits"]]
    wrong = sum(edit["wanted"] != edit["got"] for edit in told["edits"])
    return [
        Figure(
            WHAT if len(seconds) == 1000 else f"{len(seconds)} edits in a row",
            "processes, descriptors, disk and memory flat after the first 50",
            "; ".join(words for words, _ in grown.values()) + f"; wrong answers: {wrong}; {spread(seconds)}",
            verdict=judge(all(flat for _, flat in grown.values()) and not wrong),
            samples={**series, "seconds": seconds},
        )
    ]


def _growth(name: str, values: list[float]) -> tuple[str, bool]:
    """Compare the first tenth of the samples with the last; return it in words, and whether it is flat."""
    window = max(len(values) // 10, 1)
    first, last = p50(values[:window]), p50(values[-window:])
    allowed = max(first * ALLOWED_SHARE, ALLOWED_FLOOR[name])
    return f"{name} {first:.0f} → {last:.0f} (at most {quantile(values, 1):.0f})", last - first <= allowed
