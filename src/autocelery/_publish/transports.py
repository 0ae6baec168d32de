"""What an app's broker, result backend and serializers need of packages that Celery requires in an extra only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from urllib.parse import urlsplit

from celery import Celery
from packaging.requirements import Requirement

from autocelery._env.pins import installed_state, requirements_of
from autocelery._publish.packages import distributions_of

#: The extra of Celery or kombu, by the scheme of a URL, where they are called differently.
_EXTRAS = {
    "rediss": "redis",
    "sentinel": "redis",
    "db": "sqlalchemy",
    "sqla": "sqlalchemy",
    "gcpubsub": "gcpubsub",
    "confluentkafka": "confluentkafka",
}
_URLS = ("broker_url", "broker_read_url", "broker_write_url", "result_backend")
_SERIALIZERS = ("task_serializer", "result_serializer", "event_serializer")


def transports_of(app: Celery) -> frozenset[str]:
    """Return the distributions, by canonical names; what of them is not installed is not used either."""
    urls = tuple(url for name in _URLS for url in str(app.conf.get(name) or "").split(";") if url)
    formats = [*(app.conf.get(name) for name in _SERIALIZERS), *(app.conf.get("accept_content") or ())]
    return _found(urls, frozenset(str(each).rpartition("-")[2] for each in formats), installed_state())


@lru_cache(maxsize=16)
def _found(urls: tuple[str, ...], formats: frozenset[str], _state: object) -> frozenset[str]:
    schemes = {urlsplit(url).scheme or url for url in urls}
    extras = formats | {_EXTRAS.get(each, each) for scheme in schemes for each in scheme.split("+")}
    celery, kombu = metadata.distribution("celery"), metadata.distribution("kombu")
    required = {
        each.name for extra in extras for of in (celery, kombu) for each in requirements_of(of, extra)
    }
    return frozenset(required | {name for url in urls for name in _drivers_of(url)})


def _drivers_of(url: str) -> Iterator[str]:
    """Yield what has the driver that SQLAlchemy takes for ``url``, and its parts, such as psycopg-binary."""
    scheme, _, rest = url.partition("+")
    if scheme not in ("db", "sqla"):
        return
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:  # the call itself says so
        return
    try:
        driver = make_url(rest).get_dialect().import_dbapi().__name__
    except (SQLAlchemyError, ImportError, AttributeError):
        return
    for name in distributions_of(driver.partition(".")[0]):
        yield name
        parts = (Requirement(text).name for text in metadata.distribution(name).requires or ())
        yield from {each for each in parts if each.startswith(f"{name}-")}
