"""``manage.py startautocelery``: what a project still lacks, shown first."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from autocelery.presets.django import _scaffolding


class Command(BaseCommand):
    """Writes ``celery.py``, its import and an example task."""

    help = (
        "Write celery.py, its import in __init__.py and an example task into this project. Shows the diff and asks "
        "first; what is there stays as it is. Example: python manage.py startautocelery"
    )
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whether to ask, and whether to write at all."""
        parser.add_argument("--no-input", "--noinput", action="store_true", help="write without asking")
        parser.add_argument("--dry-run", action="store_true", help="show the diff, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Show what would change, and change it."""
        package, folder = _package()
        changes = list(_scaffolding.changes(folder, package, settings.SETTINGS_MODULE))
        if said := _scaffolding.kept(folder):
            self.stderr.write(said)
        if not changes:
            self.stdout.write(f"Nothing to do: {package} has its Celery app.")
            return
        for each in changes:
            self.stdout.write(each.diff(folder.parent))
        if options["dry_run"] or not (options["no_input"] or self._agrees()):
            self.stdout.write("Nothing was written.")
            return
        for each in changes:
            each.write()
        names = ", ".join(str(each.path.relative_to(folder.parent)) for each in changes)
        self.stdout.write(f"Wrote {names}. Next: python manage.py migrate, then celery -A {package} worker")

    def _agrees(self) -> bool:
        if not sys.stdin.isatty():
            raise CommandError(
                "Nobody is there to ask. Nothing was written; --no-input writes without asking."
            )
        return input("Write this? [y/N] ").strip().lower() in ("y", "yes")


def _package() -> tuple[str, Path]:
    """Return name and folder of the package that the settings are in.

    Raises:
        CommandError: they are in none.
    """
    package, _, rest = settings.SETTINGS_MODULE.partition(".")
    spec = find_spec(package) if rest else None
    if spec is None or not spec.submodule_search_locations:
        raise CommandError(
            f"{settings.SETTINGS_MODULE} is in no package, so there is no place for celery.py. Move the settings into "
            "one, as django-admin startproject does."
        )
    return package, Path(next(iter(spec.submodule_search_locations)))
