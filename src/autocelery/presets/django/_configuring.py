"""`configure`: Celery's settings into a settings module of Django, and what was written, for later."""

from __future__ import annotations

import copy
import os
from collections.abc import MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autocelery.errors import ConfigurationError
from autocelery.presets._options import Options, options_from
from autocelery.presets._settings import Settings, compute
from autocelery.presets.django import _namespace
from autocelery.presets.django._namespace import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Configured:
    """What the preset has written into the settings of this process, to tell it from the project's own."""

    options: Options
    project: str
    settings: Settings
    written: dict[str, Any] = field(default_factory=dict)


#: One process has the settings of one project.
_configured: Configured | None = None


def configured() -> Configured | None:
    """Return what the preset has written; ``None`` if it was not called, or is off."""
    return _configured


def configure(namespace: MutableMapping[str, Any], **options: Any) -> None:
    """Set Celery up for production in a settings module: ``configure(globals())``, at its end.

    What the project sets itself wins, before this line or after it. After it
    only ``INSTALLED_APPS`` cannot be completed any more.

    Args:
        namespace: the settings module's ``globals()``.
        options: ``time_limit`` and ``soft_time_limit`` in seconds, ``prefix``, ``environment``, ``broker_url``,
            ``result_backend``, ``timezone``, ``beat`` (``"plain"`` or ``"database"``), and
            ``enable_celery=False``, which changes nothing at all.

    Raises:
        ConfigurationError: an option, ``REDIS_URL`` or a time zone is wrong, or the extra is not installed.

    Example:
        >>> settings = {"__name__": "shop.settings", "INSTALLED_APPS": [], "CELERY_TIMEZONE": "UTC"}
        >>> configure(settings, time_limit=600)
        >>> settings["CELERY_TASK_TIME_LIMIT"], settings["CELERY_TIMEZONE"]
        (600, 'UTC')
    """
    CeleryPreset(**options).post(None, namespace)


class CeleryPreset:
    """The same settings for those who compose presets: what to do before a settings module, and after it.

    ``pre`` and ``post`` are called as those of a preset of Model W's
    ``EnvManager`` are, which takes it as it is. Without that,
    ``with CeleryPreset().around(globals()):`` goes around the settings.

    Args:
        options: those of `configure`.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options_from(options, "configure")

    def pre(self, env: object, context: MutableMapping[str, Any]) -> None:
        """Write the settings, so that what follows can read and change them."""
        if self.options.enable_celery:
            write(self.options, context)

    def post(self, env: object, context: MutableMapping[str, Any]) -> None:
        """Write what is missing, follow what was changed since, and add the apps."""
        global _configured
        if not self.options.enable_celery:
            _configured = None
            return
        celery = write(self.options, context).settings.values()
        _namespace.check_extra(celery)
        _namespace.add_apps(context, celery)

    @contextmanager
    def around(self, context: MutableMapping[str, Any]) -> Iterator[None]:
        """Do both around a block; not if it raises."""
        self.pre(None, context)
        yield
        self.post(None, context)


def write(options: Options, namespace: MutableMapping[str, Any], project: str | None = None) -> Configured:
    """Write the settings that the project does not set itself into ``namespace``, and remember them.

    Args:
        options: the preset's.
        namespace: Django's settings.
        project: the project's name; by default what ``namespace`` says.

    Raises:
        ConfigurationError: `compute` does not agree with what it finds.
    """
    global _configured
    _check_names(namespace)
    project = project or _namespace.project_of(namespace)
    before = _configured.written if _configured is not None and _configured.project == project else {}
    own = _namespace.own_settings(namespace, before)
    framework = _namespace.framework_of(namespace, project, os.environ)
    settings = compute(options, os.environ, framework, own)
    fresh = {f"{PREFIX}{name.upper()}": value for name, value in settings.given().items()}
    for name in before.keys() - fresh.keys():
        if name.removeprefix(PREFIX).lower() not in own:  # it followed from what the project has changed
            namespace.pop(name, None)
    namespace.update(fresh)
    caches = _namespace.caches_with_ours(namespace, settings.key_prefix, os.environ)
    if caches is not None:
        namespace["CACHES"] = caches
    _configured = Configured(options, project, settings, copy.deepcopy(fresh))
    return _configured


def _check_names(namespace: MutableMapping[str, Any]) -> None:
    """See that ``namespace`` is that of a module, not what ``vars()`` of a class or nothing would be."""
    if not isinstance(namespace, MutableMapping):
        raise ConfigurationError(
            f"configure takes the settings module's globals(), not {type(namespace).__name__}: configure(globals())"
        )
