"""What a warm live call costs over the same call deployed, one at a time and drained from a full queue."""

from __future__ import annotations

from benchmarks.fleet import REDIS_URL
from benchmarks.report import Figure, judge, p50, quantile, spread
from benchmarks.session import Session


def measure(session: Session) -> list[Figure]:
    """Measure both against one worker."""
    with session.worker() as (namespace, _):
        pairs = session.drive("call_pairs", namespace.environment(), count=session.repeat(1500, 100), warm=50)
        rates = session.drive(
            "drains",
            namespace.environment(),
            count=300 if session.is_quick else 3000,
            rounds=session.repeat(5, 2),
            url=REDIS_URL,
            prefix=namespace.prefix,
        )
    return [_latency(pairs), _throughput(rates)]


def _latency(pairs: dict[str, list[float]]) -> Figure:
    live, deployed = pairs["live"], pairs["deployed"]
    middle = (p50(live) - p50(deployed)) * 1000
    tail = (quantile(live, 0.99) - quantile(deployed, 0.99)) * 1000
    return Figure(
        "a live call of a warm snapshot, over the same call deployed",
        "≤ 1 ms more at p50, ≤ 5 ms at p99",
        f"{middle:+.2f} ms at p50, {tail:+.2f} ms at p99. Live: {spread(live, high=0.99)}; "
        f"deployed: {spread(deployed, high=0.99)}",
        ratio=f"{p50(live) / p50(deployed):.2f} times",
        verdict=judge(middle <= 1 and tail <= 5),
        samples=pairs,
    )


def _throughput(rates: dict[str, list[float]]) -> Figure:
    # Each round has both sides next to each other, so what the machine does meanwhile falls out of the ratio.
    ratios = [live / deployed for live, deployed in zip(rates["live"], rates["deployed"], strict=True)]
    return Figure(
        "throughput of no-op calls with results, drained, live over deployed",
        "≥ 80 %",
        f"live {_rates(rates['live'])}, deployed {_rates(rates['deployed'])}",
        ratio=f"{p50(ratios):.0%} ({min(ratios):.0%} to {max(ratios):.0%})",
        verdict=judge(p50(ratios) >= 0.8),
        samples={**rates, "ratios": ratios},
    )


def _rates(rates: list[float]) -> str:
    return f"p50 {p50(rates):.0f}/s ({min(rates):.0f} to {max(rates):.0f}, n={len(rates)})"
