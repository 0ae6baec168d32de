"""``autocelery plan``: what would be shipped, and what would fail; sends nothing."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell, env_option, patience_with

if TYPE_CHECKING:
    from autocelery._publish.environments import PlannedEnvironment
    from autocelery._publish.inspecting import WorkerReport
    from autocelery._publish.planning import Plan


@click.command(epilog="Example: autocelery -A proj plan --json")
@click.option(
    "--timeout", type=float, help="Seconds that workers have to answer; default: 1, or 4 if they poll."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@env_option
@click.pass_obj
def plan(shell: Shell, timeout: float | None, as_json: bool, env: tuple[str, ...]) -> int:
    """Show what a live call would ship, how big it is, what would fail on the workers and how to mend it.

    Sends nothing. Exits with 1 if a live call would fail.
    """
    from autocelery._publish import planning

    auto = shell.auto()
    planned = planning.plan(auto, timeout or patience_with(auto.app), env)
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
    if planned.lock.pins:
        pins = printing.counted(planned.lock.pins, "package")
        is_from_file = planned.lock.source != "installed"
        printing.result(
            f"locked    {pins}, {'from ' + planned.lock.source if is_from_file else 'as installed here'}"
        )
    _print_files(planned)
    if planned.variables:
        keys = printing.counted(len(planned.worker_keys), "worker key")
        printing.result(f"\nVariables, encrypted to {keys}: {', '.join(planned.variables)}")
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
        if each.state in ("built", "to be built"):
            names = ", ".join(f"{pin.name} {pin.version}" for pin in each.packages)
            alone = ", with nothing of its own packages" if each.is_alone else ""
            printing.result(f"\n{each.hostname} {_building(each)}{alone}: {names}")


def _building(environment: PlannedEnvironment) -> str:
    if environment.state == "built":
        return "has an environment for it"
    if environment.size is None:
        size = "of a size that it cannot tell"
    else:
        size = f"{printing.size(environment.size)} to download"
    source = f" from {environment.source}" if environment.source else ""
    return f"builds an environment at the first call, {size}{source}"


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
        for path, reason in planned.reasons.items():
            printing.result(f"  {path}: {reason}")
