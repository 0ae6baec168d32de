"""``autocelery ctl``: one process of an ``up`` that runs; and ``autocelery status``."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from autocelery._cli import printing
from autocelery._cli.shell import Shell, patience_with


@click.group(epilog="Example: autocelery ctl stop worker_hello")
def ctl() -> None:
    """Stop, start and watch the processes of the `autocelery up` that runs in this project."""


@ctl.command("status", epilog="Example: autocelery ctl status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ctl_status(as_json: bool) -> None:
    """Show what runs."""
    _show(_asked({"do": "status"}), as_json)


@ctl.command(epilog="Example: autocelery ctl stop worker_hello")
@click.argument("name")
def stop(name: str) -> None:
    """End NAME, once it has done what it is doing; what is queued waits."""
    _show(_asked({"do": "stop", "name": name}, patience=None))


@ctl.command(epilog="Example: autocelery ctl start worker_hello")
@click.argument("name")
def start(name: str) -> None:
    """Start NAME; where it is being stopped, after that."""
    _show(_asked({"do": "start", "name": name}, patience=None))


@ctl.command(epilog="Example: autocelery ctl restart worker_hello")
@click.argument("name")
def restart(name: str) -> None:
    """End NAME as `stop` does, and start it again."""
    _show(_asked({"do": "restart", "name": name}, patience=None))


@ctl.command(epilog="Example: autocelery ctl shutdown")
def shutdown() -> None:
    """End all of it, `up` too, as Ctrl-C there does."""
    _asked({"do": "shutdown"})


@ctl.command(epilog="Example: autocelery ctl logs -f worker_hello")
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-n", "--lines", type=click.IntRange(0), default=100, help="Of each process's last lines; 100.")
def logs(name: str | None, follow: bool, lines: int) -> None:
    """Show what NAME, or each process, has written."""
    from autocelery._up import control

    question = {"do": "logs", "name": name, "follow": follow, "lines": lines}
    for told in control.ask(Path.cwd(), question, patience=None):
        printing.result(told["line"] if name else f"{told['name']} | {told['line']}")


@click.command(epilog="Example: autocelery status --ready")
@click.option(
    "--ready", is_flag=True, help="Say nothing; exit with 0 if everything that should run is ready, else 1."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(shell: Shell, ready: bool, as_json: bool) -> int:
    """Show the processes of the `autocelery up` that runs in this project, and tasks that nobody listens for.

    For those it imports the app and asks its workers; with --ready and --json it does not.
    """
    told = _asked({"do": "status"})
    if ready:
        return 0 if told and told[0]["up_is_ready"] else 1
    _show(told, as_json)
    if not as_json:
        _show_unattended(shell)
    return 0


def _show_unattended(shell: Shell) -> None:
    """Say which tasks would wait in a queue to which no worker listens."""
    from kombu.exceptions import OperationalError

    from autocelery._celery import attending
    from autocelery._celery.unreachable import broker_gone
    from autocelery._publish import naming
    from autocelery._publish.checks import apps
    from autocelery._tables import Tables, table_file
    from autocelery.errors import AutoceleryError

    file = table_file(Path.cwd())
    name = shell.app or (file and Tables(file).root.get("up", {}).get("app"))
    if not name:
        return
    try:
        app = replace(shell, app=name).find_app()
        naming.import_tasks(app)
        try:
            listening = attending.queues_of_workers(app, patience_with(app))
        except (OperationalError, OSError) as exc:
            raise broker_gone(app, exc, "no worker can be asked") from exc
    except AutoceleryError as error:
        printing.note(f"Whether somebody listens for each task is not known: {error.message}")
        return
    if not listening:
        printing.note("No worker says that it listens: what is sent waits in its queue.")
        return
    listened = {queue for each in listening.values() for queue in each}
    for queue, tasks in apps.unattended(app, listened).items():
        waiting, options = apps.shown(tasks), naming.options_of(app)
        printing.note(
            f"{waiting} would wait in the queue {queue!r}, to which no running worker listens. "
            f"Start one: celery {options} worker -Q {queue}"
        )


def _asked(question: dict[str, Any], patience: float | None = 5.0) -> list[dict[str, Any]]:
    from autocelery._up import control

    return list(control.ask(Path.cwd(), question, patience))


def _show(told: list[dict[str, Any]], as_json: bool = False) -> None:
    if as_json:
        printing.as_json(
            [{key: value for key, value in each.items() if key != "up_is_ready"} for each in told]
        )
        return
    now = time.time()
    rows = [
        (
            each["name"],
            each["state"],
            each["pid"] or "-",
            _duration(now - each["since"]),
            each["starts"],
            each["said"],
        )
        for each in told
    ]
    printing.table(("NAME", "STATE", "PID", "FOR", "STARTS", "SAID"), rows)


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
