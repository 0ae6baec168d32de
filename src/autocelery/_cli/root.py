"""The command itself: its global options, its lazily loaded commands, its exit codes."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from autocelery._cli import printing
from autocelery._cli.lazy import LazyGroup
from autocelery._cli.shell import Shell
from autocelery.errors import AutoceleryError

#: Exit codes, as every command uses them.
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

_GLOBAL_OPTIONS = frozenset({"-A", "--app", "-b", "--broker", "--workdir", "--debug"})
_COMMANDS = {
    "run": ("autocelery._cli.run:run", "Run a local script; every task it sends is live."),
    "call": ("autocelery._cli.call:call", "Ship the working tree, run one task, print its result."),
    "shell": ("autocelery._cli.repl:shell", "Start a Python shell in which every call is live."),
    "plan": ("autocelery._cli.plan:plan", "Show what would be shipped and what would fail; send nothing."),
    "doctor": ("autocelery._cli.doctor:doctor", "Say what will hurt in production, why, and what mends it."),
    "snapshots": ("autocelery._cli.snapshots:snapshots", "List, show, compare, check out, revoke snapshots."),
    "keys": ("autocelery._cli.keys:keys", "Make, list, export and trust signing keys."),
    "check": (
        "autocelery._cli.check:check",
        "Say whether changed signatures would fail queued messages, and who is deployed first.",
    ),
    "parked": ("autocelery._cli.parked:parked", "List and release messages that no worker could run."),
    "beat": (
        "autocelery._cli.beat:beat",
        "Send periodic tasks from a schedule in a database, each tick once.",
    ),
    "dev": ("autocelery._cli.dev:dev", "Run worker, beat and dashboard; each save is the next version."),
    "dashboard": ("autocelery._cli.dashboard:dashboard", "Show workers, queues and tasks in a browser."),
    "up": ("autocelery._cli.up:up", "Run workers, beat and more from one table, supervised."),
    "ctl": ("autocelery._cli.ctl:ctl", "Stop, start and watch what `up` runs."),
    "status": ("autocelery._cli.ctl:status", "Show what `up` runs, and whether it is ready."),
    "demo": ("autocelery._cli.demo:demo", "See it work: the main job on an embedded broker, in a minute."),
}


#: What click raises, from 8.2 on, where a group is called without a command: its text is the help.
_NO_COMMAND: tuple[type[click.UsageError], ...] = tuple(
    found for found in (getattr(click.exceptions, "NoArgsIsHelpError", None),) if found
)


class RootGroup(LazyGroup):
    """The group of all commands, which says why one failed."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of autocelery is shown as the options *before* the command ask for."""
        try:
            return super().invoke(ctx)
        except AutoceleryError as error:
            _say_error(error, with_traceback=ctx.params["debug"])
            return FAILED


def _change_folder(_context: click.Context, _option: click.Parameter, folder: str | None) -> str | None:
    if folder:
        os.chdir(folder)
    return folder


@click.group(
    cls=RootGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: autocelery -A proj call proj.tasks.add 2 2",
)
@click.option(
    "-A", "--app", envvar=["AUTOCELERY_APP", "CELERY_APP", "APP"], help="The Celery app, as for celery -A."
)
@click.option(
    "-b", "--broker", envvar=["BROKER_URL", "CELERY_BROKER"], help="Address of the broker, as for celery -b."
)
@click.option(
    "--workdir",
    type=click.Path(exists=True, file_okay=False),
    is_eager=True,
    callback=_change_folder,
    help="Change to this folder first.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error of autocelery.")
@click.version_option(package_name="autocelery")
@click.pass_context
def autocelery(context: click.Context, /, debug: bool, **options: str | None) -> None:  # noqa: ARG001 - see RootGroup
    """Your running Celery fleet runs the code that is in front of you."""
    context.obj = Shell(**options)


def run(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code.

    Args:
        arguments: what follows ``autocelery`` on the command line.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        code = autocelery.main(list(arguments), prog_name="autocelery", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.UsageError as error:
        _say_usage(error)
        return WRONG_USAGE
    except click.ClickException as error:
        printing.error(error.format_message())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        printing.note("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has had enough (| head). Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _say_usage(error: click.UsageError) -> None:
    if isinstance(error, _NO_COMMAND):
        printing.note(error.format_message())
        return
    if error.ctx is not None:
        printing.note(error.ctx.get_usage())
    printing.error(error.format_message())
    if isinstance(error, click.NoSuchOption) and error.option_name in _GLOBAL_OPTIONS:
        printing.note(
            f"{error.option_name} comes before the command: autocelery {error.option_name} ... COMMAND"
        )
    elif error.ctx is not None:
        printing.note(f"Try: {error.ctx.command_path} --help")


def _say_error(error: AutoceleryError, with_traceback: bool) -> None:
    if with_traceback:
        printing.note("".join(traceback.format_exception(error)).rstrip())
    else:
        printing.error(error.message)
