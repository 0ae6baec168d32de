"""The app's settings: their values, whether the project says so itself, and in which line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.app.defaults import _TO_OLD_KEY, DEFAULTS

from autocelery._doctor.finding import Place
from autocelery._doctor.source.configuration import Configuration, prefix_of
from autocelery._doctor.source.index import Source
from autocelery._doctor.source.settings import Setting, settings_in

#: Names that are not Celery's and that what goes with it reads.
_OF_OTHERS = ("beat_database_url", "beat_sync", "task_delay_on_commit", "redbeat_", "flower_", "singleton_")


class Settings:
    """One app's."""

    def __init__(self, app: Celery, source: Source) -> None:
        self._conf = app.conf
        self.prefix = prefix_of(app)
        self.configuration = Configuration.of(app, source, self.prefix)
        self._written = settings_in(source, self.prefix, self.configuration.modules)

    def get(self, name: str) -> Any:
        """Return the value that counts, given or default."""
        return self._conf.get(name)

    def seconds(self, name: str) -> float | None:
        """Return a number of seconds; ``None`` where there is none, or no number."""
        value = self.get(name)
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, bool) or value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            return None

    def options(self, name: str) -> Mapping[str, Any]:
        """Return a setting that holds others; empty where it is none."""
        value = self.get(name)
        return value if isinstance(value, Mapping) else {}

    def names(self, name: str) -> tuple[str, ...]:
        """Return a list of names such as ``accept_content``."""
        value = self.get(name)
        if isinstance(value, str):
            return (value,)
        return tuple(str(each) for each in value) if isinstance(value, list | tuple | set | frozenset) else ()

    def is_set(self, name: str) -> bool:
        """Whether the project says so itself, and it is not the default."""
        spellings = {name, self.spelled(name), _TO_OLD_KEY.get(name, name)}
        return any(spelling in layer for layer in self._conf.maps[:-1] for spelling in spellings)

    def spelled(self, name: str) -> str:
        """Return the name as this project writes it: ``CELERY_TASK_TIME_LIMIT`` in Django's settings."""
        return f"{self.prefix}{name}".upper() if self.prefix else name

    def is_one(self, written: str) -> bool:
        """Whether a name is that of a setting as this project writes it."""
        return written.startswith(self.prefix.upper()) if self.prefix else written in DEFAULTS

    def place(self, name: str) -> Place:
        """Return where a setting is written; its name alone where that was not found."""
        written = self.written(name)
        if written is None:
            return Place(self.spelled(name))
        return Place(self.spelled(name), written.module.shown, written.line)

    def written(self, name: str) -> Setting | None:
        """Return the line that gives a setting its value, if there is one of which that can be told."""
        candidates = self.fitting(name) or self._written.get(name, ())
        return candidates[-1] if candidates else None

    def fitting(self, name: str) -> tuple[Setting, ...]:
        """Return the lines that may give a setting the value that it has."""
        return tuple(each for each in self._written.get(name, ()) if each.says(self.get(name)))

    def unknown(self) -> dict[str, Place]:
        """Return the names that look like settings, and that Celery does not know, with where they are."""
        found = {}
        for layer in self._conf.maps[:-1]:
            for name in self._names_in(layer):
                if name not in DEFAULTS and not name.startswith(_OF_OTHERS):
                    place = self._written.get(name, ())
                    shown = self.spelled(name)
                    found[name] = (
                        Place(shown, place[-1].module.shown, place[-1].line) if place else Place(shown)
                    )
        return found

    def _names_in(self, layer: Any) -> list[str]:
        """Return the names of one layer by Celery's own spelling."""
        keys = [key for key in layer if isinstance(key, str)]
        prefix = str(getattr(self._conf, "prefix", None) or "").upper()
        if prefix:
            return [key.removeprefix(prefix).lower() for key in keys if key.startswith(prefix)]
        return [key for key in keys if key.islower() and not callable(layer[key]) and "_" in key.strip("_")]
