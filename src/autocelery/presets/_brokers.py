"""Which broker and which result backend: what the project, its options and the environment say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kombu.transport import TRANSPORT_ALIASES

from autocelery.errors import ConfigurationError
from autocelery.presets._options import Options

#: Schemes of a Redis that kombu speaks to.
_REDIS = ("redis", "rediss", "redis+socket")
#: Celery reads these itself, and puts them before whatever the settings say.
BROKER_VARIABLE, RESULTS_VARIABLE = "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"
#: The Redis that cache, broker and other projects share.
SHARED_VARIABLE = "REDIS_URL"


@dataclass(frozen=True, slots=True)
class Address:
    """The URL of a service; ``origin`` and ``where`` say who gave it, as those of a `Setting` do."""

    url: str
    origin: str
    where: str

    @property
    def is_redis(self) -> bool:
        """Whether it is a Redis that kombu speaks to."""
        return is_redis(self.url)

    @property
    def is_shared(self) -> bool:
        """Whether it is the Redis that others use too."""
        return self.where == SHARED_VARIABLE


def is_redis(url: object) -> bool:
    """Whether ``url`` is that of a Redis."""
    return isinstance(url, str) and url.partition(":")[0].lower() in _REDIS


def shared_redis(environ: Mapping[str, str]) -> Address | None:
    """Return the Redis that ``REDIS_URL`` names; ``None`` where it is not set.

    Raises:
        ConfigurationError: it is no URL of a Redis.
    """
    text = environ.get(SHARED_VARIABLE, "").strip()
    if not text:
        return None
    if text.startswith("unix://"):  # as redis-py and Django's cache write it
        text = f"redis+socket://{text.removeprefix('unix://')}"
    _check_redis(text)
    if text.startswith("rediss://") and "ssl_cert_reqs=" not in text:
        # Celery's result backend refuses a TLS address that does not say whether certificates are checked.
        text += f"{'&' if '?' in text else '?'}ssl_cert_reqs=required"
    return Address(text, "environment", SHARED_VARIABLE)


def broker(
    options: Options, environ: Mapping[str, str], own: Mapping[str, Any], setting: str = "broker_url"
) -> Address | None:
    """Return the broker; ``None`` where nobody has named one.

    Args:
        options: the preset's.
        environ: the environment.
        own: the project's own settings, by Celery's names.
        setting: how the project writes the name of the setting.

    Raises:
        ConfigurationError: its URL is malformed.
    """
    found = _named("broker_url", BROKER_VARIABLE, options.broker_url, environ, own) or shared_redis(environ)
    if found is not None and not found.is_shared:
        _check_broker(found, found.where if found.origin == "environment" else setting)
    return found


def result_backend(options: Options, environ: Mapping[str, str], own: Mapping[str, Any]) -> Address | None:
    """Return where results go, if somebody has said so."""
    return _named("result_backend", RESULTS_VARIABLE, options.result_backend, environ, own)


def _named(
    name: str, variable: str, option: str | None, environ: Mapping[str, str], own: Mapping[str, Any]
) -> Address | None:
    if text := environ.get(variable, "").strip():
        return Address(text, "environment", variable)
    if said := own.get(name):
        return Address(_written(said), "project", "")
    return Address(option, "option", f"{name}=") if option else None


def _written(said: Any) -> str:
    """Return a URL as text; several, for fail-over, as kombu takes them."""
    return ";".join(map(str, said)) if isinstance(said, list | tuple) else str(said)


def _check_redis(text: str) -> None:
    """See that ``text`` is a URL of Redis; it may hold a password, so no message shows it."""
    scheme, found, _ = text.partition("://")
    mend = f"Set {SHARED_VARIABLE} as in redis://:password@host:6379/0, or rediss:// for TLS."
    if not found or scheme.lower() not in _REDIS:
        what = f"has the scheme {scheme!r}" if found else "has no scheme"
        raise ConfigurationError(f"{SHARED_VARIABLE} is no URL of a Redis: it {what}. {mend}")
    if scheme.lower() == "redis+socket":
        return
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # it quotes what it found, which may be a password
        raise ConfigurationError(
            f"{SHARED_VARIABLE} is malformed: its host or its port cannot be read; a password with / ? # or @ has to "
            f"be percent-encoded. {mend}"
        ) from None
    database = parts.path.strip("/")
    if database and not database.isdecimal():
        raise ConfigurationError(f"{SHARED_VARIABLE} is malformed: its database is no number. {mend}")


def _check_broker(address: Address, named: str) -> None:
    """See that kombu has a transport for ``address``, the first one of several."""
    scheme, found, _ = address.url.partition(";")[0].partition("://")
    if not found and ":" not in address.url and address.url not in TRANSPORT_ALIASES:
        raise ConfigurationError(
            f"{named} is no URL: it has no scheme. Set it as in redis://:password@host:6379/0 or "
            "amqp://user:password@host:5672//."
        )
    name = scheme.partition("+")[0] if found else address.url.partition(":")[0]
    if found and scheme not in TRANSPORT_ALIASES and name not in TRANSPORT_ALIASES and "." not in scheme:
        raise ConfigurationError(
            f"{named} has the scheme {scheme!r}, which kombu has no transport for. It knows "
            f"{', '.join(sorted(each for each in TRANSPORT_ALIASES if '+' not in each))}."
        )
