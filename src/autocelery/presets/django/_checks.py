"""What ``manage.py check`` says of the preset's settings, and each command that checks before it starts."""

from __future__ import annotations

import os
from typing import Any

from django.core import checks

from autocelery.presets.django import _configuring, _settling

#: Packages that settings are in all over the world: no name to tell projects apart by.
_ANYBODYS = {
    "app",
    "backend",
    "conf",
    "config",
    "core",
    "django",
    "main",
    "mysite",
    "project",
    "server",
    "settings",
}


def register() -> None:
    """Register the checks with Django."""
    checks.register(broker)
    checks.register(prefix)


def broker(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Say where no broker is configured and tasks may not run in the calling process."""
    configured = _configuring.configured()
    if configured is None or configured.settings.broker is not None or _settling.may_be_eager():
        return []
    what, _dot, hint = _settling.no_broker().partition(". ")
    return [checks.Error(f"{what}.", hint=hint, id="autocelery.E001")]


def prefix(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """Say where keys in a shared Redis begin with a name that another project may have too."""
    configured = _configuring.configured()
    if configured is None or configured.options.prefix or configured.project not in _ANYBODYS:
        return []
    broker = configured.settings.broker
    if broker is None or not broker.is_shared or os.environ.get("ENVIRONMENT"):
        return []
    return [
        checks.Warning(
            f"Keys in the Redis of REDIS_URL begin with {configured.settings.key_prefix!r}, after the package of the "
            "settings: another project's may too.",
            hint='Name this one: configure(globals(), prefix="shop")',
            id="autocelery.W001",
        )
    ]
