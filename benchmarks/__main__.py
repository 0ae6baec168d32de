"""``python -m benchmarks``: measure the figures and print them as one table."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import redis

from benchmarks import report, venvs
from benchmarks.fleet import REDIS_URL
from benchmarks.project import generate
from benchmarks.session import DriverFailed, Session

ROWS = (
    "edit_to_result",
    "against_peers",
    "wire_bytes",
    "collect",
    "overhead",
    "import_time",
    "thousand_edits",
    "environments",
    "data_file",
    "cache_limit",
    "beat",
    "plan_defects",
)
#: Load above which what is measured is the machine's other work too.
BUSY = 0.5
THIRD_PARTY = ("numpy", "pandas")


def main() -> int:
    """Measure what was asked for; 0: every bar is met, 1: one is not or could not be measured, 2: wrong usage."""
    asked = _arguments()
    load = os.getloadavg()[0]
    why = _unready(asked.only)
    if why:
        print(why, file=sys.stderr)
        return 2
    if load > BUSY:
        print(f"The load is {load:.1f}: other work will show in every figure.", file=sys.stderr)
    third_party = () if asked.plain else THIRD_PARTY
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        python = venvs.python("own")
        assert python is not None
        project = generate(folder / "project", third_party=third_party)
        session = Session(folder, project, python, rounds=asked.rounds, is_quick=asked.quick)
        figures = [figure for name in asked.only for figure in _measured(name, session)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    about = report.conditions(third_party, load, os.cpu_count() or 1)
    print("\n".join(f"- {name}: {value}" for name, value in about.items()) + "\n")
    print(report.markdown(figures))
    if asked.json:
        report.write_json(asked.json, figures, about)
    return 0 if all(figure.verdict in (report.MET, report.NOTED) for figure in figures) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the figures of autocelery side by side with what they are judged against.",
        epilog="example: python -m benchmarks --only edit_to_result wire_bytes --json benchmarks/results/now.json",
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS, metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=_positive, metavar="N", help="repetitions of each measurement")
    parser.add_argument(
        "--quick", action="store_true", help="few repetitions: does it run, not how fast is it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, raw samples too")
    parser.add_argument("--plain", action="store_true", help="a project that imports no numpy and pandas")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _unready(rows: tuple[str, ...]) -> str | None:
    """Make the environments that ``rows`` need; return why nothing can be measured, if so."""
    try:
        with redis.Redis.from_url(REDIS_URL) as connection:
            connection.ping()
    except redis.RedisError as error:
        return f"No Redis at {REDIS_URL.rpartition('@')[2]} ({error}). Start one, or set REDIS_URL."
    needed = {"against_peers": ("ray", "dask"), "environments": ("ray",), "beat": ("schedulers",)}
    wanted = list(dict.fromkeys(["own", *(peer for row in rows for peer in needed.get(row, ()))]))
    if venvs.main(wanted) != 0:
        return "The environment that autocelery is measured in could not be built; see above."
    return None


def _measured(name: str, session: Session) -> list[report.Figure]:
    print(f"measuring {name} ...", file=sys.stderr, flush=True)
    try:
        figures: list[report.Figure] = import_module(f"benchmarks.rows.{name}").measure(session)
    except (DriverFailed, RuntimeError) as failure:
        figures = [report.not_measured(name, "", str(failure))]
    for figure in figures:
        print(
            f"  {figure.what}: {figure.measured} {figure.ratio} [{figure.verdict}]",
            file=sys.stderr,
            flush=True,
        )
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
