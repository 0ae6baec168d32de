"""``autocelery run``: a local script, every task that it sends live."""

from __future__ import annotations

import traceback
from pathlib import Path

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell, env_option, taking_along
from autocelery.errors import AutoceleryError


@click.command(
    epilog="Example: autocelery -A proj run rescore.py --since yesterday",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@env_option
@click.option("--quiet", is_flag=True, help="Do not show what the tasks print and log.")
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def run(shell: Shell, script: Path, arguments: tuple[str, ...], quiet: bool, env: tuple[str, ...]) -> int:
    """Run SCRIPT as Python would; every task that it sends runs the code in front of you.

    What follows SCRIPT is given to it. Its exit code is this command's. What the tasks print
    and log goes to standard error, while they run.
    """
    auto = shell.auto_for_script(script)
    from autocelery._publish.running import run_script
    from autocelery._publish.showing import Printer

    try:
        with taking_along(env):
            run_script(auto, script, arguments, None if quiet else Printer(out="stderr"))
    except AutoceleryError:
        raise
    except Exception as error:  # noqa: BLE001 - a script may raise anything; it is shown as Python shows it
        printing.note(_shown(error, script))
        return 1
    return 0


def _shown(error: Exception, script: Path) -> str:
    """Return the traceback from the script's own first frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != str(script):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()
