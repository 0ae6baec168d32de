"""``autocelery beat``: periodic tasks from a schedule in a database."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from autocelery._cli import printing
from autocelery._cli.beat_import import import_
from autocelery._cli.schedules import opened
from autocelery._cli.shell import Shell

if TYPE_CHECKING:
    from datetime import datetime

    from autocelery._beat.store import Entry

_LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)


@click.group(invoke_without_command=True, epilog="Example: autocelery -A proj beat")
@click.option("-l", "--loglevel", type=_LEVELS, default="INFO", help="What is logged; default: INFO.")
@click.pass_context
def beat(context: click.Context, loglevel: str) -> None:
    """Send periodic tasks from the schedule in beat_database_url; any number may run, each tick is sent once.

    Without a command it runs until it is stopped, as `celery -A proj beat -S
    autocelery.beat:DatabaseScheduler` does. The commands show and change the schedule meanwhile.
    """
    if context.invoked_subcommand is None:
        from autocelery._beat import service

        service.run(context.obj.find_app(), loglevel.upper())


@beat.command("list", epilog="Example: autocelery -A proj beat list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_(shell: Shell, as_json: bool) -> None:
    """List the entries of the schedule."""
    entries = opened(shell)[1].entries()
    if as_json:
        printing.as_json([{**asdict(each), "definition": json.loads(each.definition)} for each in entries])
        return
    printing.table(("KEY", "TASK", "SCHEDULE", "NEXT", "RUNS", "STATE"), [_row(each) for each in entries])


@beat.command(epilog="Example: autocelery -A proj beat show nightly-report")
@click.argument("key")
@click.pass_obj
def show(shell: Shell, key: str) -> None:
    """Show an entry: what it says, its next five ticks and its last five."""
    from autocelery._beat import editing

    _, store = opened(shell)
    entry = editing.found(store, key)
    printing.as_json(json.loads(entry.definition))
    if entry.problem:
        printing.result(f"not sent: {entry.problem}")
    for tick in editing.upcoming(entry, 5):
        printing.result(f"next  {_moment(tick)}")
    for each in store.history(key, 5):
        printing.result(f"last  {_moment(each.tick)}  {each.state}  {each.task_id}{_said(each.error)}")


@beat.command(
    "set", epilog="Example: autocelery -A proj beat set nightly-report schedule='30 2 * * *' enabled=true"
)
@click.argument("key")
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.pass_obj
def set_(shell: Shell, key: str, changes: tuple[str, ...]) -> None:
    """Change the entry KEY, or make it; instances that run see it within a second.

    A value is JSON where it parses as that, else text. A schedule is seconds, five fields of a
    crontab, 02:30, 02:30 mon-fri, or a moment such as 2027-01-31T09:00.
    """
    from autocelery._beat import editing

    app, store = opened(shell)
    told = dict(_parsed(each) for each in changes)
    entry = editing.edit(store, key, told, str(app.conf.timezone or "UTC"))
    printing.result(f"{entry.key}: next {_moment(entry.next_tick) if entry.next_tick else 'never'}")


@beat.command(epilog="Example: autocelery -A proj beat remove nightly-report")
@click.argument("key")
@click.pass_obj
def remove(shell: Shell, key: str) -> None:
    """Forget the entry KEY and its history; one of the settings comes back with the next start."""
    from autocelery._beat import editing

    editing.remove(opened(shell)[1], key)
    printing.result(key)


@beat.command(epilog="Example: autocelery -A proj beat run nightly-report")
@click.argument("key")
@click.pass_obj
def run(shell: Shell, key: str) -> None:
    """Send the task of the entry KEY now, beside its schedule, and print the call's id."""
    from autocelery._beat import editing

    app, store = opened(shell)
    printing.result(editing.send_now(app, editing.found(store, key)))


@beat.command(epilog="Example: autocelery -A proj beat diff")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def diff(shell: Shell, as_json: bool) -> None:
    """Show the entries of which settings and database say different things, both sides of each."""
    from autocelery._beat import syncing
    from autocelery._beat.from_settings import read

    app, store = opened(shell)
    found = syncing.difference(store, read(app))
    if as_json:
        printing.as_json([asdict(each) for each in found])
        return
    for each in found:
        printing.result(f"{each.key}: {each.why}")
        for name, ours, theirs in _sides(each.settings, each.database):
            printing.result(f"  {name}: settings {ours}, database {theirs}")
    if not found:
        printing.note("Settings and database say the same.")


@beat.command(epilog="Example: autocelery -A proj beat sync --take database nightly-report")
@click.option(
    "--take", "side", type=click.Choice(["settings", "database"]), required=True, help="Whose word counts."
)
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.pass_obj
def sync(shell: Shell, side: Any, keys: tuple[str, ...]) -> None:
    """Decide where settings and database differ: for the KEYs, or for all.

    What the settings do not have any more is forgotten with `--take settings`, and goes on with
    `--take database`.
    """
    from autocelery._beat import syncing
    from autocelery._beat.from_settings import read

    app, store = opened(shell)
    for key in syncing.take(store, read(app), side, keys):
        printing.result(key)


@beat.command(epilog="Example: autocelery -A proj beat migrate")
@click.pass_obj
def migrate(shell: Shell) -> None:
    """Make the tables of the schedule, as a user who may; beat does it too, where its user may."""
    _, store = opened(shell)
    store.prepare()
    printing.note(f"The tables are there: {store.url}")


beat.add_command(import_)


def _parsed(change: str) -> tuple[str, Any]:
    name, equals, text = change.partition("=")
    if not equals:
        raise click.BadParameter(f"{change!r} is not NAME=VALUE.")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def _row(entry: Entry) -> tuple[str, ...]:
    from autocelery._beat.wording import spoken, state_of

    told = json.loads(entry.definition)
    state = state_of(entry, told["enabled"])
    following = _moment(entry.next_tick) if entry.next_tick else "-"
    return entry.key, told["task"], spoken(told["schedule"]), following, str(entry.runs), state


def _sides(settings: str | None, database: str | None) -> list[tuple[str, str, str]]:
    ours, theirs = json.loads(settings or "{}"), json.loads(database or "{}")
    return [
        (name, json.dumps(ours.get(name)), json.dumps(theirs.get(name)))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def _moment(moment: datetime) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")


def _said(error: str | None) -> str:
    return f"  {error}" if error else ""
