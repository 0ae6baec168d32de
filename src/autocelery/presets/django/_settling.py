"""The settings as they are once Django has read them all: what follows from them follows the project's last word."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings as django_settings

from autocelery.errors import BrokerNotConfigured, ConfigurationError
from autocelery.presets.django import _configuring, _hosts, _namespace
from autocelery.presets.django._configuring import Configured
from autocelery.presets.django._namespace import PREFIX
from autocelery_host import current_snapshot

#: What Celery's own part for Django looks up under Django's name.
_READ_AS_THEY_ARE = ("CELERY_DB_REUSE_MAX",)


def settle() -> Configured | None:
    """Bring Django's settings into agreement with themselves; return what the preset wrote.

    A project that sets its broker or its time zone below ``configure`` finds
    what follows from them changed too. Doing it twice changes nothing.

    Raises:
        ConfigurationError: what the project set below is malformed.
    """
    configured = _configuring.configured()
    if configured is None:
        return None
    _hosts.use_files_of_worker()
    names = {name for name in dir(django_settings) if name.isupper()}
    before = {name: getattr(django_settings, name) for name in names}
    after = dict(before)
    configured = _configuring.write(configured.options, after, configured.project)
    for name in after.keys() | before.keys():
        if name not in after:
            delattr(django_settings, name)
        elif name not in before or after[name] is not before[name]:
            setattr(django_settings, name, after[name])
    return configured


def __getattr__(name: str) -> Any:
    """Give Celery ``settings`` when it asks for them, which is after Django has read them.

    They are those of ``CELERY_``, by Celery's own names: given Django's names
    and a namespace, Celery 5.7 warns of each that was a name of Celery 3 once.
    """
    if name != "settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    configured = settle()
    if configured is not None:
        _check_apps(configured)
        if configured.settings.broker is None and not may_be_eager():
            raise BrokerNotConfigured(no_broker())
    own = {name: getattr(django_settings, name) for name in dir(django_settings) if name.startswith(PREFIX)}
    kept = {name: value for name, value in own.items() if name in _READ_AS_THEY_ARE}
    return {**{name.removeprefix(PREFIX).lower(): value for name, value in own.items()}, **kept}


def runs_eagerly() -> bool:
    """Whether tasks run in the calling process: there is no broker, and it is development or a test."""
    configured = _configuring.configured()
    is_without = configured is not None and configured.settings.broker is None
    return is_without and may_be_eager() and current_snapshot() is None


def may_be_eager() -> bool:
    """Whether this is development or a test, where nothing has to be installed; a host has its worker's broker."""
    return bool(django_settings.DEBUG) or _is_a_test() or current_snapshot() is not None


def _is_a_test() -> bool:
    """Whether tests run here: Django's runner sets ``DEBUG`` to False, and keeps mail in an outbox."""
    mail = sys.modules.get("django.core.mail")
    return "test" in sys.argv[1:2] or "pytest" in sys.modules or hasattr(mail, "outbox")


def no_broker() -> str:
    """Return what to do where there is no broker."""
    return (
        "No broker is configured, and DEBUG is off: tasks would run in the web process. Set REDIS_URL or "
        "CELERY_BROKER_URL in the environment, or CELERY_BROKER_URL in the settings; DEBUG = True runs tasks in the "
        "calling process."
    )


def _check_apps(configured: Configured) -> None:
    for name in _namespace.needed_apps(configured.settings.values()):
        if not _namespace.has_app(django_settings.INSTALLED_APPS, name):
            raise ConfigurationError(
                f"{name} is not in INSTALLED_APPS, which the settings assign below configure(globals()). Move "
                "configure(globals()) to the end of the settings, or add it there."
            )
