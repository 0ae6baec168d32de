"""The settings as people read them: no password, and where each came from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autocelery._blobs.addresses import without_password
from autocelery.presets._settings import Setting
from autocelery.presets.django import _namespace
from autocelery.presets.django._configuring import Configured
from autocelery.presets.django._namespace import PREFIX

_SECRET = re.compile(r"password|secret|token|credential", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of Django's: its name, its value without passwords, and where it came from."""

    name: str
    value: Any
    origin: str

    @property
    def shown(self) -> str:
        """The value as Python writes it."""
        return repr(self.value)


def rows(configured: Configured, settings: Any) -> list[Row]:
    """Return every setting that the preset made or Celery gets from the project, by name."""
    return sorted(
        [*_of_celery(configured, settings), *_of_django(configured, settings)], key=lambda row: row.name
    )


def _of_celery(configured: Configured, settings: Any) -> Iterator[Row]:
    known = {f"{PREFIX}{each.name.upper()}": each for each in configured.settings.settings}
    own = {name for name in dir(settings) if name.startswith(PREFIX)} - known.keys()
    for name, each in known.items():
        yield Row(name, _hidden(name, each.value), _origin(each))
    for name in own:
        yield Row(name, _hidden(name, getattr(settings, name)), _project(settings))


def _of_django(configured: Configured, settings: Any) -> Iterator[Row]:
    celery = configured.settings.values()
    added = [name for name in _namespace.needed_apps(celery) if name in settings.INSTALLED_APPS]
    yield Row("INSTALLED_APPS", added, "preset (beside the project's own)")
    ours = settings.CACHES.get(_namespace.CACHE)
    if ours is not None:
        is_ours = ours.get("KEY_PREFIX") == f"{configured.settings.key_prefix}cache"
        origin = "preset (on REDIS_URL)" if is_ours else _project(settings)
        yield Row(f'CACHES["{_namespace.CACHE}"]', _hidden("", ours), origin)


def _project(settings: Any) -> str:
    return f"project ({settings.SETTINGS_MODULE})"


def _origin(setting: Setting) -> str:
    where = setting.where
    if setting.origin == "option":
        where = f"configure(globals(), {where}...)"
    elif setting.origin == "project":
        where = where or os.environ.get("DJANGO_SETTINGS_MODULE", "")
    return f"{setting.origin} ({where})" if where else setting.origin


def _hidden(name: str, value: Any) -> Any:
    """Return ``value`` without the passwords in it."""
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_hidden(name, each) for each in value)
    if _SECRET.search(name):
        return "***"
    if isinstance(value, str) and "://" in value:
        return ";".join(without_password(each) for each in value.split(";"))
    return value
