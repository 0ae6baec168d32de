"""Packages that the worker has not: the first call that needs them, and calls after it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from benchmarks import peers, venvs
from benchmarks.report import Figure, judge, not_measured, p50, spread
from benchmarks.session import DriverFailed, Session

#: Five pure wheels without requirements; another version of the last one makes another environment.
PACKAGES = ("humanize==4.12.3", "idna==3.10", "Markdown==3.7", "tabulate==0.9.0")
LAST = tuple(f"toolz=={version}" for version in ("0.11.1", "0.11.2", "0.12.0", "0.12.1", "1.0.0", "1.1.0"))
CROWD = 100
_NEW = "a new environment of five pure wheels, warm uv cache, to the first result"
_RAY = "the same with Ray, `runtime_env` with `pip`, on a running cluster: the first and the second time"


def measure(session: Session) -> list[Figure]:
    """Measure new environments one after the other, then one that a hundred calls ask for at once, then Ray."""
    lists = [[*PACKAGES, last] for last in LAST[: session.repeat(5, 2)]]
    sites = [_installed(session, wanted) for wanted in lists]
    ours = _ours(session, sites, crowd=1)
    attached, plain = (p50([edit["seconds"] for edit in ours[side]]) for side in ("attached", "plain"))
    more = (attached - plain) * 1000
    figures = [
        Figure(
            _NEW,
            "≤ 2 s",
            spread(ours["first"]),
            verdict=judge(p50(ours["first"]) <= 2 and _are_right(ours, lists)),
            samples={"seconds": ours["first"]},
        ),
        Figure(
            "an edit in an environment from the cache, over the same edit with the worker's own packages",
            "≤ 100 ms more",
            f"{more:+.0f} ms at p50; in an environment p50 {attached * 1000:.0f} ms, without {plain * 1000:.0f} ms",
            verdict=judge(more <= 100),
        ),
        _crowd(session),
    ]
    return [*figures, _ray(session, lists, ours)]


def _ours(session: Session, sites: list[Path], crowd: int) -> dict[str, Any]:
    with session.worker() as (namespace, worker):
        told: dict[str, Any] = session.drive(
            "environment_calls",
            namespace.environment(),
            sites=[str(site) for site in sites],
            count=session.repeat(5, 2),
            warm=6,
            crowd=crowd,
            first=session.first(),
        )
        told["builds"] = sum("Built environment" in line for line in worker.log)
    return told


def _crowd(session: Session) -> Figure:
    wanted = [*PACKAGES, LAST[-1]]
    told = _ours(session, [_installed(session, wanted)], crowd=CROWD)
    right = sum(_as_listed(answer, wanted) for answer in told["versions"][0])
    return Figure(
        f"{CROWD} first calls of one new environment at once",
        f"one build, {CROWD} right results",
        f"builds: {told['builds']}; right results: {right}; all of them after {told['first'][0]:.2f} s",
        verdict=judge(told["builds"] == 1 and right == CROWD),
    )


def _ray(session: Session, lists: list[list[str]], ours: dict[str, Any]) -> Figure:
    python = venvs.python("ray")
    bar = "≥ 5 times faster, both times"
    if python is None:
        return not_measured(_RAY, bar, venvs.why_not("ray"))
    try:
        with peers.ray_cluster(python) as address:
            told = session.drive(
                "ray_environments", peers.RAY_VARIABLES, python=python, address=address, wanted=lists
            )
    except (DriverFailed, peers.PeerFailed) as failure:
        return not_measured(_RAY, bar, str(failure))
    first, second = ([pair[number] for pair in told] for number in (0, 1))
    mine = p50(ours["first"]), p50([edit["seconds"] for edit in ours["attached"]])
    times = p50(first) / mine[0], p50(second) / mine[1]
    return Figure(
        _RAY,
        bar,
        f"first {spread(first)}; second {spread(second)}",
        ratio=f"{times[0]:.1f} times, {times[1]:.1f} times",
        verdict=judge(min(times) >= 5),
        samples={"first": first, "second": second},
    )


def _installed(session: Session, wanted: list[str]) -> Path:
    """Install packages into a folder, as the caller has them; uv's cache is warm then."""
    site = session.folder / "sites" / wanted[-1]
    command = [
        str(session.python),
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(site),
    ]
    subprocess.run([*command, *wanted], check=True, cwd=session.folder)
    return site


def _are_right(told: dict[str, Any], lists: list[list[str]]) -> bool:
    return all(
        _as_listed(answer, wanted)
        for answers, wanted in zip(told["versions"], lists, strict=True)
        for answer in answers
    )


def _as_listed(answer: dict[str, str], wanted: list[str]) -> bool:
    return {f"{name}=={version}".lower() for name, version in answer.items()} == {
        each.lower() for each in wanted
    }
