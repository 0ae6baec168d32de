"""``autocelery keys``: whose snapshots are signed and trusted here."""

from __future__ import annotations

import sys

import click

from autocelery import _signing
from autocelery._cli import printing
from autocelery._config import home
from autocelery._signing import worker_keys
from autocelery.errors import InvalidKey


@click.group(epilog="Example: autocelery keys export")
def keys() -> None:
    """Make, list, export and trust keys: authors' keys sign snapshots, workers' keys decrypt variables.

    On one machine nothing needs to be done: the keys are made on first use, and this user's
    workers trust this user. For workers elsewhere, run `keys export` here and `keys trust` there;
    to send them variables, run `keys export --worker` there and `keys trust` here.
    """


@keys.command(epilog="Example: autocelery keys create")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def create(as_json: bool) -> None:
    """Make this user's key, if there is none yet, and print its id."""
    place = home()
    try:
        key, made = _signing.own_key(place, create=False), False
    except InvalidKey:
        key, made = _signing.own_key(place), True
    if as_json:
        printing.as_json({"id": key.id, "created": made, "folder": str(place.keys)})
        return
    printing.note(f"{'Made a key' if made else 'There is a key already'} in {place.keys}.")
    printing.result(key.id)


@keys.command("list", epilog="Example: autocelery keys list --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--worker", "of_workers", is_flag=True, help="List the keys that variables are encrypted to.")
def list_(as_json: bool, of_workers: bool) -> None:
    """List the keys whose snapshots workers of this user run."""
    trusted = worker_keys.recipients(home()) if of_workers else _signing.list_keys(home())
    if as_json:
        printing.as_json(
            [{"id": k.id, "comment": k.comment, "source": k.source, "key": k.text} for k in trusted]
        )
        return
    if not trusted:
        printing.note("No key is trusted here. Make one: autocelery keys create")
        return
    printing.table(("ID", "COMMENT", "SOURCE"), [(key.id, key.comment, key.source) for key in trusted])


@keys.command(epilog="Example: autocelery keys export --comment anna@laptop")
@click.option("--comment", help="Whose key it is; default: user@computer.")
@click.option(
    "--worker", "of_workers", is_flag=True, help="That of this user's workers, for AUTOCELERY_WORKER_KEYS."
)
def export(comment: str | None, of_workers: bool) -> None:
    """Print the public half of this user's key, for `keys trust` or AUTOCELERY_TRUSTED_KEYS elsewhere."""
    if of_workers:
        printing.result(worker_keys.export_text(worker_keys.own_key(home()), comment))
    else:
        printing.result(_signing.export_text(_signing.own_key(home()), comment))


@keys.command(epilog="Example: autocelery keys trust autocelery-ed25519:AbC...=:anna@laptop")
@click.argument("key")
def trust(key: str) -> None:
    """Let the workers of this user on this machine run what KEY signed ("-": read it from stdin).

    Of a worker's key: let that worker read the variables that are sent from here.
    """
    text = sys.stdin.read() if key == "-" else key
    trust_it = worker_keys.trust_text if worker_keys.is_text(text) else _signing.trust_text
    trusted = trust_it(home(), text)
    printing.note(f"Trusted: {trusted.comment or 'no comment'} ({trusted.source})")
    printing.result(trusted.id)
