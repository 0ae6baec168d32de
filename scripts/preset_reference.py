"""Write docs/reference/presets.md from the code of the presets; a test compares the two.

Run it with the project's own interpreter: .venv/bin/python scripts/preset_reference.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from autocelery.presets._options import Options
from autocelery.presets._settings import Setting, compute
from autocelery.presets.django import _namespace

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "presets.md"
#: The project of the page.
PROJECT, ENVIRON = "shop", {"REDIS_URL": "redis://localhost:6379/0"}

_HEAD = """\
# Settings of the presets

<!-- Written by scripts/preset_reference.py from the code of the presets. -->

What [`configure(globals())`](../how-to/django.md) makes of a project that `django-admin startproject shop` has made,
with `REDIS_URL=redis://localhost:6379/0` and nothing else. What the project says itself wins. In your project
`python manage.py autocelery settings` shows each value, and where it came from.

| setting | value | why |
|---|---|---|
"""
_TAIL = """
## In broker_transport_options

The names are those that kombu reads; a key of the project's own wins, the others stay.

| key | value | what |
|---|---|---|
"""
_KEYS = {
    "visibility_timeout": "seconds until a message that was not acknowledged is delivered again; twice the time limit",
    "socket_timeout": "seconds to wait for an answer",
    "socket_connect_timeout": "seconds to wait for a connection",
    "socket_keepalive": "the system looks whether the other end is there",
    "retry_on_timeout": "a read that timed out is tried once more",
    "health_check_interval": "seconds of idleness after which a connection is looked at before it is used",
    "global_keyprefix": "what each key begins with: the environment, the project, Celery",
}


def django_settings() -> dict[str, Any]:
    """Return what the preset sets in the project of the page, by Django's names."""
    return {f"CELERY_{each.name.upper()}": each.value for each in _settings()}


def _settings() -> tuple[Setting, ...]:
    framework = _namespace.framework_of({"TIME_ZONE": "UTC"}, PROJECT, ENVIRON)
    return compute(Options(), ENVIRON, framework, {}).settings


def page() -> str:
    """Return the page as it should be."""
    rows = [
        f"| `CELERY_{each.name.upper()}` | {_shown(each)} | {each.reason} |\n"
        for each in sorted(_settings(), key=lambda each: each.name)
    ]
    options = django_settings()["CELERY_BROKER_TRANSPORT_OPTIONS"]
    keys = [f"| `{key}` | `{value!r}` | {_KEYS[key]} |\n" for key, value in options.items()]
    return "".join([_HEAD, *rows, _TAIL, *keys])


def _shown(setting: Setting) -> str:
    if setting.name == "broker_transport_options":
        return "[below](#in-broker_transport_options)"
    return f"`{setting.value!r}`"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"Wrote {PAGE}", file=sys.stderr)
