"""``autocelery shell``: a Python shell in which every call is live."""

from __future__ import annotations

import click

from autocelery._cli.shell import Shell, env_option, taking_along


@click.command(epilog="Example: autocelery -A proj shell")
@click.option("--plain", is_flag=True, help="Take Python's own REPL, also where IPython is installed.")
@env_option
@click.pass_obj
def shell(options: Shell, /, plain: bool, env: tuple[str, ...]) -> None:
    """Start a Python shell in which every call is live: IPython where it is installed, else Python's own.

    A function or a task that is defined again is simply the next version.
    """
    from autocelery._notebook import shells

    with taking_along(env):
        shells.run(options.auto(), plain)
