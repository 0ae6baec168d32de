"""A schedule of 100,000 entries: what it costs while none is due, and how late ticks are sent; beside others."""

from __future__ import annotations

from benchmarks import schedulers, venvs
from benchmarks.report import Figure, judge, not_measured, p50, quantile, spread
from benchmarks.schedulers import Load, Measured, Side
from benchmarks.session import DriverFailed, Session

FULL = Load(entries=100_000, start=60, idle=60, rate=50, seconds=30)
QUICK = Load(entries=2_000, start=15, idle=5, rate=50, seconds=5)
_CELERY_BEAT = ("beat", "--pidfile=", "-l", "ERROR", "-S")
SIDES = (
    Side(
        "autocelery",
        "beat_own",
        ("autocelery", "-A", "benchmarks.drivers.beat_own", "beat", "-l", "ERROR"),
        "own",
    ),
    Side(
        "django-celery-beat",
        "beat_django",
        (
            *("celery", "-A", "benchmarks.drivers.beat_django", *_CELERY_BEAT),
            "django_celery_beat.schedulers:DatabaseScheduler",
        ),
        "schedulers",
    ),
    Side(
        "redbeat",
        "beat_redbeat",
        (
            *("celery", "-A", "benchmarks.drivers.beat_redbeat", *_CELERY_BEAT),
            *("redbeat.RedBeatScheduler", "--max-interval", "5"),  # as its manual advises
        ),
        "schedulers",
    ),
)


def measure(session: Session) -> list[Figure]:
    """Measure the sides in turns, so that what the machine does meanwhile falls on each of them."""
    load = QUICK if session.is_quick else FULL
    found: dict[str, list[Measured]] = {side.name: [] for side in SIDES}
    failures: dict[str, str] = {}
    for number in range(session.repeat(3, 1)):
        for side in (*SIDES[number % 3 :], *SIDES[: number % 3]):
            python = venvs.python(side.venv)
            if python is None:
                failures[side.name] = venvs.why_not(side.venv)
                continue
            try:
                found[side.name].append(schedulers.measure(session, side, python, load))
            except (DriverFailed, RuntimeError) as failure:
                failures[side.name] = str(failure)
    figures = []
    for side in SIDES:
        figures += _figures(side.name, load, found[side.name], failures.get(side.name))
    return figures


def _figures(name: str, load: Load, rounds: list[Measured], failure: str | None) -> list[Figure]:
    is_ours = name == SIDES[0].name
    place = "Redis" if name == "redbeat" else "PostgreSQL"
    idle = f"{name}, {load.entries:,} entries in {place}, none due: share of a core"
    late = f"{name}, lateness of {load.rate} due ticks a second for {load.seconds} s, among them"
    bars = ("≤ 1 %", "p99 ≤ 1 s") if is_ours else ("", "")
    if not rounds:
        return [not_measured(what, bar, failure or "") for what, bar in zip((idle, late), bars, strict=True)]
    shares, backends = [each.idle for each in rounds], [each.database for each in rounds]
    everything = [seconds for each in rounds for seconds in each.late]
    missing, doubled = sum(each.missing for each in rounds), sum(each.doubled for each in rounds)
    is_late = not everything or quantile(everything, 0.99) > 1 or missing or doubled
    told = spread(everything, high=0.99) if everything else "nothing was sent"
    beside = f", its database {_share(backends)}" if place == "PostgreSQL" else ""
    memory = f"{p50([each.megabytes for each in rounds]):.0f} MB"
    return [
        Figure(
            idle,
            bars[0],
            f"p50 {_share(shares)}{beside}; {memory}; rounds: {len(rounds)}",
            verdict=judge(p50(shares) <= 0.01) if is_ours else "-",
            samples={"shares": shares, "database": backends},
        ),
        Figure(
            late,
            bars[1],
            f"{told}; by round p99 {', '.join(_p99(each) for each in rounds)}; not sent within "
            f"{schedulers.PATIENCE:.0f} s: {missing}, sent twice: {doubled}",
            verdict=judge(not is_late) if is_ours else "-",
            samples={"late": everything},
        ),
    ]


def _share(shares: list[float]) -> str:
    return f"{p50(shares):.2%} ({min(shares):.2%} to {max(shares):.2%})"


def _p99(each: Measured) -> str:
    return f"{quantile(each.late, 0.99):.2f} s" if each.late else "-"
