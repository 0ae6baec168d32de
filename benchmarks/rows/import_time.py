"""What ``import autocelery`` costs a program that imports Celery anyway."""

from __future__ import annotations

import subprocess

from benchmarks.report import Figure, judge, p50, spread
from benchmarks.session import Session

_TIMED = """
import time
{before}
began = time.perf_counter()
{timed}
print(time.perf_counter() - began)
"""
_FACADE = "import autocelery\nautocelery.Autocelery"


def measure(session: Session) -> list[Figure]:
    """Time the import in fresh processes, the two ways in turns.

    ``import celery`` is lazy and loads next to nothing; what a project has
    loaded when it reaches ``import autocelery`` is ``Celery`` and an app.
    """
    bare, usual = [], []
    for _ in range(session.repeat(15, 3)):
        bare.append(_seconds(session, "import celery", _FACADE))
        usual.append(_seconds(session, "from celery import Celery\nCelery('proj').finalize()", _FACADE))
    return [
        Figure(
            "importing `autocelery` where a Celery app is loaded",
            "≤ 60 ms",
            spread(usual),
            verdict=judge(p50(usual) <= 0.06),
            samples={"seconds": usual},
        ),
        Figure(
            "the same after a bare `import celery`: this loads Celery itself, which that import puts off",
            "",
            spread(bare),
            samples={"seconds": bare},
        ),
    ]


def _seconds(session: Session, before: str, timed: str) -> float:
    done = subprocess.run(
        [str(session.python), "-c", _TIMED.format(before=before, timed=timed)],
        cwd=session.folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout)
