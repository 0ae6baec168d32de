"""``autocelery beat import``: the schedules of other schedulers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from autocelery._cli import printing
from autocelery._cli.schedules import opened
from autocelery._cli.shell import Shell

if TYPE_CHECKING:
    from autocelery._beat.importing.bringing import Outcome
    from autocelery._beat.importing.found import Found
    from autocelery._beat.store import BeatStore

C = TypeVar("C", bound=Callable[..., Any])


def _common(command: C) -> C:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--dry-run", "is_dry", is_flag=True, help="Show what would be done, and do nothing."),
    ):
        command = option(command)
    return command


@click.group("import", epilog="Example: autocelery -A proj beat import django-celery-beat --dry-run")
def import_() -> None:
    """Bring in the entries of another scheduler, and report on each; what they are read from stays as it is.

    It may be run again: an entry follows the other scheduler until it is edited here. Exits with 1
    if one was not imported.
    """


@import_.command("django-celery-beat", epilog="Example: autocelery -A proj beat import django-celery-beat")
@click.option(
    "--database", metavar="URL", help="The Django project's, as SQLAlchemy has it; default: the schedule's."
)
@click.option("--timezone", default="UTC", help="Of moments in MariaDB or SQLite, where USE_TZ = False.")
@_common
@click.pass_obj
def django_celery_beat(shell: Shell, database: str | None, timezone: str, is_dry: bool, as_json: bool) -> int:
    """Import the periodic tasks of django-celery-beat, from its tables.

    Django need not be installed.
    """
    from autocelery._beat.definition import zone_of
    from autocelery._beat.importing.found import DJANGO
    from autocelery._beat.opening import address_of

    zone = zone_of(timezone)
    app, store = opened(shell)
    from autocelery._beat.importing import django_celery_beat as source

    found = source.read(database or address_of(app), str(app.conf.timezone or "UTC"), zone)
    return _bring(app, store, DJANGO, found, is_dry, as_json)


@import_.command(epilog="Example: autocelery -A proj beat import redbeat --redis redis://localhost/1")
@click.option(
    "--redis", "url", metavar="URL", help="Redbeat's Redis; default: redbeat_redis_url, or the broker."
)
@click.option("--prefix", help="Of redbeat's keys; default: redbeat_key_prefix, or redbeat:")
@_common
@click.pass_obj
def redbeat(shell: Shell, url: str | None, prefix: str | None, is_dry: bool, as_json: bool) -> int:
    """Import the entries of redbeat, from its keys in Redis.

    Redbeat need not be installed.
    """
    from autocelery._beat.importing import redbeat as source
    from autocelery._beat.importing.found import REDBEAT

    app, store = opened(shell)
    redis = url or _setting(app, "redbeat_redis_url") or str(app.conf.broker_url or "")
    keys = prefix if prefix is not None else _setting(app, "redbeat_key_prefix") or source.PREFIX
    found = source.read(redis, keys, str(app.conf.timezone or "UTC"))
    return _bring(app, store, REDBEAT, found, is_dry, as_json)


def _setting(app: Any, name: str) -> str | None:
    told = app.conf.get(name) or app.conf.get(name.upper())
    return str(told) if told else None


def _bring(
    app: Any, store: BeatStore, origin: str, found: Sequence[Found], is_dry: bool, as_json: bool
) -> int:
    from autocelery._beat.from_settings import read
    from autocelery._beat.importing.bringing import NOT_IMPORTED, Importer

    outcomes = Importer(store, origin, read(app), is_dry).bring(found)
    if as_json:
        printing.as_json([asdict(each) for each in outcomes])
    else:
        for each in outcomes:
            _print(each)
    counts = Counter(each.result for each in outcomes)
    told = ", ".join(f"{count} {result}" for result, count in counts.items()) or "nothing was found"
    printing.note(f"{told}.{' Nothing was written: this was a dry run.' if is_dry else ''}")
    return 1 if NOT_IMPORTED & counts.keys() else 0


def _print(outcome: Outcome) -> None:
    printing.result(f"{outcome.key}: {outcome.result}{f': {outcome.why}' if outcome.why else ''}")
    for each in outcome.notes:
        printing.result(f"  note: {each}")
