"""``autocelery up``: everything that a project runs, from one table."""

from __future__ import annotations

from pathlib import Path

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell

_KINDS = click.Choice(["systemd", "supervisord", "compose"])


@click.command(epilog="Example: autocelery -A proj up")
@click.option("--write", type=_KINDS, help="Print the same for this supervisor, and start nothing.")
@click.pass_obj
def up(shell: Shell, write: str | None) -> int:
    """Run the processes of [tool.autocelery.up], and start again what ends.

    Workers with their queues, beat, the web app: as pyproject.toml, or
    autocelery.toml, says. Ctrl-C, or SIGTERM, ends them when they have done
    what they are doing; once more, at once.
    """
    import asyncio

    from autocelery._up import reading, supervisor, writing

    if write and shell.broker:
        raise click.UsageError(
            "-b goes into no file of another supervisor: name the broker in the app's settings."
        )
    shell.prepare()
    plan = reading.plan_of(reading.find(Path.cwd()), shell.app)
    if write:
        printing.result(writing.WRITERS[write](plan))
        return 0
    return asyncio.run(supervisor.Supervisor(plan).run())
