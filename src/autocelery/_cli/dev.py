"""``autocelery dev``: everything that one needs while working on a project."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from autocelery._cli import printing
from autocelery._cli.dashboard import PORT
from autocelery._cli.shell import Shell


@click.command(epilog="Example: autocelery -A proj dev --port 8020 -- -c 4")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True,
              help="Of the dashboard, on this machine only; 0: no dashboard.")  # fmt: skip
@click.option("--own-broker", is_flag=True, help="Have a broker of its own, even if the project names one.")
@click.argument("worker_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def dev(shell: Shell, port: int, own_broker: bool, worker_options: tuple[str, ...]) -> int:
    """Run a worker, beat and a dashboard; each save is the next version.

    Plain calls that are sent after a save run the code as it was saved, without a restart; tasks that run end
    on theirs. A save that does not load is said at once, and the last one that did goes on. Where the project
    names no broker, one runs for as long as this does. What follows `--` are options of `celery worker`.
    Ctrl-C ends all of it.
    """
    import asyncio

    from autocelery._cli import looking
    from autocelery._dashboard import listening
    from autocelery._dev import starting
    from autocelery._up.supervisor import Supervisor

    listening.see_that_it_is_installed("dev", "watchfiles")
    if port:
        listening.see_that_port_is_free(port)
    stage = starting.Stage(partial(looking.look, shell), own_broker)
    try:
        _introduce(stage.environment, port)
        plan = starting.plan(Path.cwd(), stage, port, worker_options)
        return asyncio.run(Supervisor(plan, called="dev").run())
    finally:
        stage.close()


def _introduce(environment: dict[str, str], port: int) -> None:
    if environment:
        told = " ".join(f"{name}={value}" for name, value in environment.items())
        printing.note(f"A broker of its own runs. For other processes of the project:\n  export {told}")
    if port:
        printing.note(f"Dashboard: http://127.0.0.1:{port}/")
