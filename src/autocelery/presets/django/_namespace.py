"""A settings module of Django as the preset reads it: its own settings of Celery's, its name, its apps."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autocelery.errors import ConfigurationError
from autocelery.presets import _brokers
from autocelery.presets._settings import Framework

#: What Celery's settings begin with in Django's.
PREFIX = "CELERY_"
#: The app with the commands, and the one with the tables and the admin of results.
OWN_APP, RESULTS_APP = "autocelery.presets.django", "django_celery_results"
#: The app with the tables and the admin of the schedule, and what says that it is there.
BEAT_APP, BEAT_DATABASE = "autocelery.presets.django.beat", "django-db"
#: The name of the cache, which Celery's ``cache_backend`` names.
CACHE = "django-cache"
#: Django's own default, which a project that names another cache has to repeat.
_DEFAULT_CACHE = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
#: Django's own, where a project has none.
_DEFAULT_TIME_ZONE = "America/Chicago"


def own_settings(namespace: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the project's settings of Celery's, by Celery's names, without what the preset has ``written``."""
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in namespace.items()
        if name.startswith(PREFIX) and not _is_untouched(name, value, written)
    }


def _is_untouched(name: str, value: Any, written: Mapping[str, Any]) -> bool:
    return name in written and type(written[name]) is type(value) and bool(written[name] == value)


def framework_of(namespace: Mapping[str, Any], project: str, environ: Mapping[str, str]) -> Framework:
    """Return what Django's settings say that Celery has to know."""
    return Framework(
        project=project,
        timezone=str(namespace.get("TIME_ZONE") or _DEFAULT_TIME_ZONE),
        timezone_setting="TIME_ZONE",
        namespace=PREFIX,
        result_backend="django-db",
        beat_database=BEAT_DATABASE,
        settings={
            "cache_backend": CACHE if _has_cache(namespace, environ) else "default",
            "task_delay_on_commit": True,
        },
    )


def project_of(namespace: Mapping[str, Any]) -> str:
    """Return the name of the package that the settings are in, or of their folder if they are in none."""
    package, _, rest = str(namespace.get("__name__", "")).partition(".")
    if rest:
        return package
    return Path(str(namespace.get("__file__", ""))).resolve().parent.name or "django"


def _has_cache(namespace: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    return CACHE in (namespace.get("CACHES") or {}) or _brokers.shared_redis(environ) is not None


def caches_with_ours(
    namespace: Mapping[str, Any], prefix: str, environ: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return ``CACHES`` with the one on the shared Redis; ``None`` where there is nothing to add.

    Its keys have a prefix of their own beside those of Celery's.
    """
    shared = _brokers.shared_redis(environ)
    present = namespace.get("CACHES") or _DEFAULT_CACHE
    if shared is None or CACHE in present:
        return None
    ours = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": shared.url.replace("redis+socket://", "unix://"),
        "KEY_PREFIX": f"{prefix}cache",
    }
    return {**copy.deepcopy(present), CACHE: ours}


def add_apps(namespace: MutableMapping[str, Any], celery: Mapping[str, Any]) -> None:
    """Add to ``INSTALLED_APPS`` what the settings need and the project has not."""
    if "INSTALLED_APPS" not in namespace:
        return
    apps = namespace["INSTALLED_APPS"]
    missing = [name for name in needed_apps(celery) if not has_app(apps, name)]
    namespace["INSTALLED_APPS"] = type(apps)([*apps, *missing])


def needed_apps(celery: Mapping[str, Any]) -> list[str]:
    """Return the apps that a project with these settings of Celery's needs."""
    wanted = {
        OWN_APP: True,
        RESULTS_APP: _has_results(celery),
        BEAT_APP: celery.get("beat_database_url") == BEAT_DATABASE,
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _has_results(celery: Mapping[str, Any]) -> bool:
    return str(celery.get("result_backend")).startswith("django-")


def has_app(apps: Any, name: str) -> bool:
    """Whether the app called ``name`` is in ``INSTALLED_APPS``, by its name or by its class."""
    return any(each == name or str(each).startswith(f"{name}.apps.") for each in apps)


def check_extra(celery: Mapping[str, Any]) -> None:
    """See that what the settings name is installed.

    Raises:
        ConfigurationError: it is not.
    """
    needed = ["tblib", *([RESULTS_APP] if _has_results(celery) else [])]
    of_beat = ["cronsim", "sqlalchemy"] if "beat_database_url" in celery else []
    missing = [name for name in (*needed, *of_beat) if find_spec(name) is None]
    if missing:
        extras = "django,beat" if set(missing) & set(of_beat) else "django"
        raise ConfigurationError(
            f"The preset's settings need {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not "
            f"installed. Run: pip install 'autocelery[{extras}]'"
        )
