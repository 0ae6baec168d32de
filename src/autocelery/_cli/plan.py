"""``autocelery plan``: what would be shipped, and what would fail; sends nothing."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell, patience_with

if TYPE_CHECKING:
    from autocelery._publish.inspecting import WorkerReport
    from autocelery._publish.planning import Plan


@click.command(epilog="Example: autocelery -A proj plan --json")
@click.option(
    "--timeout", type=float, help="Seconds that workers have to answer; default: 1, or 4 if they poll."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def plan(shell: Shell, timeout: float | None, as_json: bool) -> int:
    """Show what a live call would ship, how big it is, what would fail on the workers and how to mend it.

    Sends nothing. Exits with 1 if a live call would fail.
    """
    from autocelery._publish import planning

    auto = shell.auto()
    planned = planning.plan(auto, timeout or patience_with(auto.app))
    if as_json:
        printing.as_json(asdict(planned))
    else:
        _print(planned)
    return 1 if any(problem.level == "error" for problem in planned.problems) else 0


def _print(planned: Plan) -> None:
    from autocelery._publish.stores import address

    files, blobs = printing.counted(planned.files, "file"), printing.counted(planned.blobs_to_send, "blob")
    printing.result(f"snapshot  {planned.snapshot[:12]}")
    printing.result(f"tree      {planned.top}: {files}, {printing.size(planned.size)}")
    printing.result(f"store     {address(planned.store) if planned.store else 'none'}")
    printing.result(f"to send   {blobs}, {printing.size(planned.bytes_to_send)} before packing")
    _print_files(planned)
    if planned.packages:
        names = ", ".join(f"{each.distribution} {each.version}" for each in planned.packages)
        printing.result(f"\nPackages that the code imports: {names}")
    if planned.workers:
        printing.result("")
        headings = ("WORKER", "AUTOCELERY", "PYTHON", "CELERY", "POOL", "QUEUES")
        printing.table(headings, [_row(worker) for worker in planned.workers])
    _print_environments(planned)
    for problem in planned.problems:
        printing.result(f"\n{problem.level.capitalize()}: {problem.what}\n  {problem.mend}")
    if not planned.problems:
        printing.result("\nNothing speaks against a live call.")


def _print_environments(planned: Plan) -> None:
    for each in planned.environments:
        if each.state == "to be built":
            names = ", ".join(f"{pin.name} {pin.version}" for pin in each.packages)
            printing.result(f"\n{each.hostname} builds an environment at the first call: {names}")


def _row(worker: WorkerReport) -> tuple[str, ...]:
    version = worker.autocelery or "none"
    queues = ", ".join(worker.queues)
    return worker.hostname, version, worker.python, worker.celery, worker.pool, queues


def _print_files(planned: Plan) -> None:
    printing.result("\nLargest files:")
    for path, size in planned.largest:
        printing.result(f"  {printing.size(size):>9}  {os.path.relpath(path, planned.top)}")
    if planned.withheld:
        printing.result("\nNot shipped, for they look like secrets:")
        for path in planned.withheld:
            printing.result(f"  {path}")
