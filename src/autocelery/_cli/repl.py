"""``autocelery shell``: a Python shell in which every call is live."""

from __future__ import annotations

import click

from autocelery._cli.shell import Shell


@click.command(epilog="Example: autocelery -A proj shell")
@click.option("--plain", is_flag=True, help="Take Python's own REPL, also where IPython is installed.")
@click.pass_obj
def shell(options: Shell, /, plain: bool) -> None:
    """Start a Python shell in which every call is live: IPython where it is installed, else Python's own.

    A function or a task that is defined again is simply the next version.
    """
    from autocelery._notebook import shells

    shells.run(options.auto(), plain)
