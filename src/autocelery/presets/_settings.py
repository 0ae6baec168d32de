"""The settings of production: each value, where it came from, and why it is so.

No framework is imported here. A framework says what it knows itself (its
name, its time zone, its own result backend) and gets a tuple of `Setting`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from autocelery.presets import _brokers
from autocelery.presets._brokers import Address
from autocelery.presets._options import SCHEDULERS, Options, check_timezone
from autocelery.presets._reasons import REASONS

#: Seconds after which Redis gives a message that was not acknowledged to another worker, at least; kombu's default.
VISIBILITY_TIMEOUT = 3600
#: Seconds between two pings of an idle connection: what is half open is noticed within them. kombu's default.
HEALTH_CHECK_INTERVAL = 25
#: What names the database of the schedule, before the settings.
BEAT_VARIABLE = "CELERY_BEAT_DATABASE_URL"
#: Seconds to wait for a connection to Redis, and for an answer; a worker's own reads block for one second.
CONNECT_TIMEOUT, SOCKET_TIMEOUT = 5, 30


@dataclass(frozen=True, slots=True)
class Setting:
    """One of Celery's settings.

    Args:
        name: Celery's own name for it, in small letters.
        value: what it is.
        origin: ``preset``, ``option`` (an argument of the preset), ``environment`` or ``project``.
        where: the option's or the variable's name, or what else is to be said of its origin.
    """

    name: str
    value: Any
    origin: str
    where: str = ""

    @property
    def reason(self) -> str:
        """Why the preset sets it, in Markdown."""
        return REASONS.get(self.name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """What the framework knows of the project.

    Args:
        project: the project's name, which keys in a shared Redis begin with.
        timezone: the framework's time zone, an IANA name, and ``timezone_setting`` where it is set.
        result_backend: where results go unless somebody says otherwise; ``None`` for the shared Redis.
        beat_database: where a schedule in a database is, unless somebody says otherwise.
        settings: what else Celery has to know of the framework, by Celery's names.
        namespace: what Celery's settings begin with in the framework's, ``CELERY_`` for example.
    """

    project: str
    timezone: str = "UTC"
    timezone_setting: str = ""
    result_backend: str | None = None
    beat_database: str | None = None
    settings: Mapping[str, Any]
    namespace: str = ""

    def named(self, name: str) -> str:
        """Return one of Celery's names as the project writes it."""
        return f"{self.namespace}{name.upper()}" if self.namespace else name


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one project; ``broker`` is ``None`` where none is configured."""

    settings: tuple[Setting, ...]
    broker: Address | None
    key_prefix: str

    def values(self) -> dict[str, Any]:
        """Return the values by Celery's names."""
        return {each.name: each.value for each in self.settings}

    def given(self) -> dict[str, Any]:
        """Return the values that the project does not set itself."""
        return {each.name: each.value for each in self.settings if each.origin != "project"}


def compute(
    options: Options, environ: Mapping[str, str], framework: Framework, own: Mapping[str, Any]
) -> Settings:
    """Return the settings of a project.

    Args:
        options: what the project told the preset.
        environ: the environment.
        framework: what the framework knows.
        own: the project's own settings, by Celery's names; they win, and what is derived follows them.

    Raises:
        ConfigurationError: a URL is malformed, a time zone unknown, or the limit of the project's own is not above
            the soft one of the options.
    """
    own = {name: value for name, value in own.items() if value is not None}
    chosen = _brokers.broker(options, environ, own, framework.named("broker_url"))
    prefix = key_prefix(options, environ, framework.project)
    limit = _own_limit(own)
    if limit is not None:
        options = replace(options, time_limit=limit)
    computed = [
        *_of_addresses(options, environ, framework, own, chosen, prefix),
        *_of_limits(options, framework.named("task_time_limit") if limit is not None else None),
        _timezone(options, framework, own),
        *_of_beat(options, environ, framework, own),
        *(Setting(name, value, "preset") for name, value in {**_ALWAYS, **framework.settings}.items()),
    ]
    return Settings(tuple(_won(each, own) for each in computed), chosen, prefix)


#: Whatever the project is like.
_ALWAYS: dict[str, Any] = {
    "task_track_started": True,
    "task_remote_tracebacks": True,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "result_extended": True,
    "worker_cancel_long_running_tasks_on_connection_loss": True,
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
}


def key_prefix(options: Options, environ: Mapping[str, str], project: str) -> str:
    """Return what the project's keys in a shared Redis begin with: ``production:shop:``."""
    environment = options.environment or environ.get("ENVIRONMENT", "").strip()
    return "".join(f"{part}:" for part in (environment, (options.prefix or project).strip(":")) if part)


def _of_addresses(
    options: Options,
    environ: Mapping[str, str],
    framework: Framework,
    own: Mapping[str, Any],
    chosen: Address | None,
    prefix: str,
) -> list[Setting]:
    """Return broker, results, and what the connections to them need."""
    settings = []
    if chosen is not None:
        settings.append(Setting("broker_url", chosen.url, chosen.origin, chosen.where))
    results = _results(options, environ, framework, own)
    if results is not None:
        settings.append(results)
    keys = {"global_keyprefix": f"{prefix}celery:"}
    if chosen is not None and chosen.is_redis and (chosen.origin != "project" or options.prefix):
        transport = _transport_options(options)
        if chosen.is_shared or options.prefix:
            transport |= keys
        settings.append(_merged("broker_transport_options", transport, own))
    if results is None or not _brokers.is_redis(results.value):
        return settings
    if options.prefix or _is_shared(results.value, environ):
        settings.append(_merged("result_backend_transport_options", keys, own))
    if results.origin != "project":
        settings += [
            Setting(name, value, "preset") for name, value in _of_redis_results(results.value).items()
        ]
    return settings


def _results(
    options: Options, environ: Mapping[str, str], framework: Framework, own: Mapping[str, Any]
) -> Setting | None:
    said = _brokers.result_backend(options, environ, own)
    if said is not None:
        return Setting("result_backend", said.url, said.origin, said.where)
    if framework.result_backend is not None:
        return Setting("result_backend", framework.result_backend, "preset")
    shared = _brokers.shared_redis(environ)
    return Setting("result_backend", shared.url, shared.origin, shared.where) if shared else None


def _is_shared(results: str, environ: Mapping[str, str]) -> bool:
    """Whether results go to the Redis that others use too, whoever has named it."""
    shared = _brokers.shared_redis(environ)
    return shared is not None and results == shared.url


def _transport_options(options: Options) -> dict[str, Any]:
    """Return what kombu's Redis transport reads, under the names that it reads."""
    return {
        "visibility_timeout": max(VISIBILITY_TIMEOUT, int(2 * options.time_limit)),
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,
        "retry_on_timeout": True,
        "health_check_interval": HEALTH_CHECK_INTERVAL,
    }


def _of_redis_results(url: str) -> dict[str, Any]:
    """Return the same for results in Redis, which have settings of their own."""
    tcp = {} if url.startswith("redis+socket:") else {"redis_socket_keepalive": True}
    return {
        "redis_socket_connect_timeout": CONNECT_TIMEOUT,
        **tcp,  # redis-py's connection of a Unix socket does not take it
        "redis_retry_on_timeout": True,
        "redis_backend_health_check_interval": HEALTH_CHECK_INTERVAL,
    }


def _own_limit(own: Mapping[str, Any]) -> float | None:
    """Return the project's own hard limit in seconds; what Celery takes for none is none."""
    limit = own.get("task_time_limit")
    is_limit = isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0
    return limit if is_limit else None


def _of_limits(options: Options, followed: str | None) -> list[Setting]:
    """Return both limits; the soft one is derived from the setting ``followed`` where the project has that."""
    hard = Setting("task_time_limit", options.time_limit, *_said(options, "time_limit"))
    if options.soft_time_limit is not None:
        said = _said(options, "soft_time_limit")
    else:
        said = ("preset", f"from {followed}") if followed else _said(options, "time_limit")
    return [hard, Setting("task_soft_time_limit", options.soft, *said)]


def _of_beat(
    options: Options, environ: Mapping[str, str], framework: Framework, own: Mapping[str, Any]
) -> list[Setting]:
    """Return the scheduler, and where its schedule is."""
    scheduler = Setting("beat_scheduler", SCHEDULERS[options.beat], *_said(options, "beat"))
    if options.beat != "database":
        return [scheduler]
    if named := environ.get(BEAT_VARIABLE, "").strip():
        return [scheduler, Setting("beat_database_url", named, "environment", BEAT_VARIABLE)]
    if "beat_database_url" in own:
        return [scheduler, Setting("beat_database_url", own["beat_database_url"], "project")]
    if framework.beat_database is None:
        return [scheduler]
    return [scheduler, Setting("beat_database_url", framework.beat_database, *_said(options, "beat"))]


def _timezone(options: Options, framework: Framework, own: Mapping[str, Any]) -> Setting:
    if "timezone" in own:
        if isinstance(own["timezone"], str):
            check_timezone(own["timezone"], framework.named("timezone"))
        return Setting("timezone", own["timezone"], "project")
    if options.timezone is not None:
        return Setting("timezone", options.timezone, "option", "timezone=")
    check_timezone(framework.timezone, framework.timezone_setting or "timezone")
    where = f"as {framework.timezone_setting}" if framework.timezone_setting else ""
    return Setting("timezone", framework.timezone, "preset", where)


def _said(options: Options, name: str) -> tuple[str, str]:
    """Return origin and place of what an option decides."""
    is_default = getattr(options, name) == getattr(Options(), name)
    return ("preset", "") if is_default else ("option", f"{name}=")


def _merged(name: str, options: dict[str, Any], own: Mapping[str, Any]) -> Setting:
    """Return a mapping with what the project has in its own, which wins key by key."""
    said = own.get(name)
    if not isinstance(said, Mapping):
        return Setting(name, options, "preset")
    added = [key for key in options if key not in said]
    if not added:
        return Setting(name, dict(said), "project")
    return Setting(name, {**options, **said}, "preset", f"with the project's {', '.join(said) or 'none'}")


def _won(setting: Setting, own: Mapping[str, Any]) -> Setting:
    """Return the project's own value where it has one; a mapping that was merged is both's."""
    if setting.name not in own or setting.name in (
        "broker_url",
        "result_backend",
        "timezone",
        "beat_database_url",
    ):
        return setting
    if setting.where.startswith("with the project's"):
        return setting
    return Setting(setting.name, own[setting.name], "project")
