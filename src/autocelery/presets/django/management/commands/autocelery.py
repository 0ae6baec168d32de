"""``manage.py autocelery settings``: each value, and where it came from."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from autocelery.presets.django import _configuring
from autocelery.presets.django._showing import rows


class Command(BaseCommand):
    """Shows what the preset has set."""

    help = "Show Celery's settings, each with where it came from: python manage.py autocelery settings"
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's own declaration

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to show, and how."""
        parser.add_argument("what", choices=["settings"], help="settings: each value and where it came from")
        parser.add_argument("--json", action="store_true", help="for programs to read")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a line a setting."""
        configured = _configuring.configured()
        if configured is None:
            raise CommandError(
                f"The preset has set nothing: {django_settings.SETTINGS_MODULE} does not call configure(globals()), or "
                "with enable_celery=False."
            )
        found = rows(configured, django_settings)
        if options["json"]:
            shown = [{"name": each.name, "value": each.value, "origin": each.origin} for each in found]
            self.stdout.write(json.dumps(shown, indent=2, default=str))
            return
        width = max(len(f"{each.name} = {each.shown}") for each in found if len(each.shown) < 60)
        for each in found:
            line = f"{each.name} = {each.shown}"
            self.stdout.write(f"{line:<{width}}  # {each.origin}")
