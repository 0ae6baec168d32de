"""``autocelery parked``: the messages that no worker could run as they are."""

from __future__ import annotations

from dataclasses import asdict

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell


@click.group(epilog="Example: autocelery -A proj parked list")
def parked() -> None:
    """List and release messages of tasks with signature="park" that did not fit the workers."""


@parked.command("list", epilog="Example: autocelery -A proj parked list --json")
@click.option(
    "--most", type=click.IntRange(1), default=100, help="Messages of each task that are shown; 100."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(shell: Shell, most: int, as_json: bool) -> None:
    """List the messages that wait, and why; they stay where they are."""
    from autocelery._celery import parked as queues
    from autocelery._celery.signatures import PARK, policy_of
    from autocelery._publish import naming

    app = shell.auto().app
    naming.import_tasks(app)
    found = [
        each
        for name, task in sorted(app.tasks.items())
        if policy_of(task) == PARK
        for each in queues.look(app, name, most)
    ]
    if as_json:
        printing.as_json([asdict(each) for each in found])
        return
    rows = [(each.at, each.task, each.task_id, each.sent_for, each.reason) for each in found]
    printing.table(("PARKED", "TASK", "ID", "SENT FOR", "REASON"), rows)


@parked.command(epilog="Example: autocelery -A proj parked release proj.tasks.report")
@click.argument("task")
@click.option("--all", "everything", is_flag=True, help="Also those that do not fit the code here.")
@click.pass_obj
def release(shell: Shell, task: str, everything: bool) -> int:
    """Queue the messages of TASK again that fit the code here. Workers do this for themselves when they start."""
    from autocelery._celery import parked as queues
    from autocelery._celery import parking
    from autocelery._publish import naming

    app = shell.auto().app
    naming.import_tasks(app)
    declared = app.tasks.get(task)
    if declared is None:
        raise click.BadParameter(f"The app has no task {task}.", param_hint="TASK")
    released = queues.release(app, task, lambda message: everything or not parking.why_not(declared, message))
    moved = printing.counted(released.moved, "message")
    printing.result(f"{moved} queued again, {released.kept} left parked.")
    if released.moved:
        printing.note("A worker whose code they do not fit parks them again. See: autocelery parked list")
    return 0
