"""The same edit, by restarting the worker, with Ray and with Dask; autocelery before, between and after.

The sides do not run at the same time, because idle clusters would take from
the two cores that the others need: each peer's block of edits stands between
two blocks of autocelery, and its ratio is taken against those two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import peers, venvs
from benchmarks.fleet import Namespace
from benchmarks.report import Figure, judge, not_measured, p50, spread
from benchmarks.session import DriverFailed, Session

Edits = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to get an edit's result without autocelery; ``bar`` is how many times slower it has to be."""

    name: str
    what: str
    bar: float
    edits: Callable[[Session, int], Edits]


def measure(session: Session) -> list[Figure]:
    """Return a figure for each peer."""
    figures = []
    before = _ours(session)
    for peer in PEERS:
        bar = f"≥ {peer.bar:g} times faster" if peer.bar > 1 else "faster, where its answer is right"
        if peer.name != "restart" and venvs.python(peer.name) is None:
            figures.append(not_measured(peer.what, bar, venvs.why_not(peer.name)))
            continue
        try:
            theirs = peer.edits(session, session.repeat(12, 4))
        except (DriverFailed, peers.PeerFailed) as failure:
            figures.append(not_measured(peer.what, bar, str(failure)))
            continue
        after = _ours(session)
        figures.append(_compared(peer, bar, theirs, before + after))
        before = after
    return figures


def _compared(peer: Peer, bar: str, theirs: Edits, ours: Edits) -> Figure:
    right = [edit["seconds"] for edit in theirs if edit["wanted"] == edit["got"]]
    stale = len(theirs) - len(right)
    everything = [edit["seconds"] for edit in theirs]
    mine = [edit["seconds"] for edit in ours]
    wrong = sum(edit["wanted"] != edit["got"] for edit in ours)
    words = f"{spread(everything)}; stale answers: {stale} of {len(theirs)}"
    if stale and right:
        words += f"; the right ones: p50 {p50(right) * 1000:.0f} ms"
    times = p50(right) / p50(mine) if right else 0.0
    return Figure(
        peer.what,
        bar,
        f"{words}. autocelery beside it: {spread(mine)}; stale: {wrong} of {len(ours)}",
        ratio=f"{times:.1f} times" if right else "no right answer",
        verdict=judge((times >= peer.bar or not right) and not wrong),
        samples={"peer": everything, "peer, where right": right, "autocelery": mine},
    )


def _ours(session: Session) -> Edits:
    with session.worker() as (namespace, _):
        told = session.drive(
            "own_edits",
            namespace.environment(),
            count=session.repeat(20, 4),
            warm=3,
            first=session.first(),
        )
    edits: Edits = told["edits"]
    return edits


def _restart(session: Session, count: int) -> Edits:
    namespace = Namespace.new(session.folder, has_autocelery=False)
    try:
        edits: Edits = session.drive(
            "restart_edits", namespace.environment(), count=count, first=session.first()
        )
    finally:
        namespace.clean()
    return edits


def _ray(session: Session, count: int) -> Edits:
    python = venvs.python("ray")
    assert python is not None
    with peers.ray_cluster(python) as address:
        edits: Edits = session.drive(
            "ray_edits",
            peers.RAY_VARIABLES,
            python=python,
            count=count,
            first=session.first(),
            address=address,
        )
    return edits


def _dask(session: Session, count: int) -> Edits:
    python = venvs.python("dask")
    assert python is not None
    with peers.dask_cluster(python) as address:
        edits: Edits = session.drive(
            "dask_edits",
            {"TMPDIR": str(session.folder)},  # Dask leaves a folder of its own there
            python=python,
            count=count,
            first=session.first(),
            address=address,
        )
    return edits


PEERS = (
    Peer("restart", "the same edit, restarting the stock worker (prefork, 2 processes)", 15, _restart),
    Peer("ray", "the same edit, Ray on a running cluster, `working_dir`", 8, _ray),
    Peer("dask", "the same edit, Dask on a running cluster, zip and `upload_file`", 1, _dask),
)
