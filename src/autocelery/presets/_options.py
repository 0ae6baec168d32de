"""What a project may tell a preset; the same names for every framework."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from zoneinfo import ZoneInfo

from autocelery.errors import ConfigurationError

#: Seconds that a task may run before its process is killed.
TIME_LIMIT = 3600
#: Seconds that a task has to tidy up, between the soft limit and the hard one; a tenth of a short limit.
TIME_TO_TIDY_UP = 60
#: What ``beat`` may be, and the scheduler that it means.
SCHEDULERS = {"plain": "celery.beat.Scheduler", "database": "autocelery.beat:DatabaseScheduler"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the preset of one project differs from the default.

    Args:
        time_limit: seconds after which a task's process is killed.
        soft_time_limit: seconds after which ``SoftTimeLimitExceeded`` is raised in the task; by default a
            minute, or a tenth, before ``time_limit``.
        prefix: what the keys in a shared Redis begin with; by default the name of the project.
        environment: what stands before that, so that staging and production share a Redis; by default the
            variable ``ENVIRONMENT``.
        broker_url: the broker; by default ``CELERY_BROKER_URL`` or ``REDIS_URL`` of the environment.
        result_backend: where results are stored; by default ``CELERY_RESULT_BACKEND`` of the environment, else
            what fits the framework.
        timezone: an IANA name; by default the framework's time zone.
        enable_celery: ``False`` turns the preset off.
        beat: ``"plain"`` for Celery's own scheduler, ``"database"`` for `autocelery.beat.DatabaseScheduler`.

    Raises:
        ConfigurationError: a value cannot be meant.
    """

    time_limit: float = TIME_LIMIT
    soft_time_limit: float | None = None
    prefix: str | None = None
    environment: str | None = None
    broker_url: str | None = None
    result_backend: str | None = None
    timezone: str | None = None
    enable_celery: bool = True
    beat: str = "plain"

    def __post_init__(self) -> None:
        _check_seconds("time_limit", self.time_limit)
        if self.soft_time_limit is not None:
            _check_seconds("soft_time_limit", self.soft_time_limit)
            if self.soft_time_limit >= self.time_limit:
                raise ConfigurationError(
                    f"soft_time_limit={self.soft_time_limit:g} is not below time_limit={self.time_limit:g}: tasks "
                    "would be killed before they can tidy up. Lower the soft one, or raise the other."
                )
        if self.timezone is not None:
            check_timezone(self.timezone, "timezone")
        if self.beat not in SCHEDULERS:
            raise ConfigurationError(f"beat={self.beat!r} is neither 'plain' nor 'database'.")

    @property
    def soft(self) -> float:
        """The soft limit in seconds, given or not."""
        if self.soft_time_limit is not None:
            return self.soft_time_limit
        soft = self.time_limit - min(TIME_TO_TIDY_UP, self.time_limit / 10)
        return int(soft) if soft >= 1 else soft


def options_from(given: Mapping[str, Any], of: str) -> Options:
    """Return the options that were ``given`` to ``of``, for example ``configure``.

    Raises:
        ConfigurationError: one is not known, or its value cannot be meant.
    """
    known = [field.name for field in fields(Options)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(known)}."
            raise ConfigurationError(f"{of} has no option {name!r}. {hint}")
    return Options(**given)


def check_timezone(name: object, where: str) -> None:
    """See that ``name`` is a zone that this machine knows.

    Raises:
        ConfigurationError: it is not; the message names the setting ``where`` it stands.
    """
    try:
        ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a folder's name an OSError
        raise ConfigurationError(
            f"{where} is {name!r}, which is no time zone that this machine knows. Write an IANA name, such as "
            "Europe/Madrid or UTC; if it is one, install the time zones: pip install tzdata"
        ) from None


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigurationError(f"{name}={value!r} is no number of seconds above 0.")
