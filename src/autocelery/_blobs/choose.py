"""Which blob store an app uses, and a store from its address."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ssl import VerifyMode
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from autocelery._blobs.addresses import joined, without_password
from autocelery._blobs.folder import FolderStore
from autocelery._blobs.objects import ObjectStore
from autocelery._blobs.protocol import BlobStore
from autocelery._blobs.redis import DEFAULT_PREFIX, RedisStore
from autocelery.errors import ConfigurationError, StoreNotConfigured

#: The environment variable that names the store, before anything else does.
VARIABLE = "AUTOCELERY_STORE"
FOLDER_NAME = "autocelery-blobs"

_REDIS = frozenset(
    {"redis", "rediss", "valkey", "valkeys", "redis+socket", "valkey+socket", "socket", "unix"}
)
#: What an address is with TLS; a Unix socket has none.
_SECURE = {"redis": "rediss", "rediss": "rediss", "valkey": "valkeys", "valkeys": "valkeys"}
_PREFIX = "autocelery_prefix"
_SQL = ("postgresql", "sqlite")
#: What Celery writes before the address of a database.
_CELERYS_MARK = "db+"


def store_url_for(app: Any) -> str:
    """Return the address of the store that ``app`` (a Celery app) uses.

    The first of: ``AUTOCELERY_STORE``, the setting ``autocelery_store``, a
    Redis broker, a Redis result backend, a folder beside a filesystem broker,
    a result backend in PostgreSQL or SQLite.

    Raises:
        StoreNotConfigured: none of them gives one.
    """
    chosen = os.environ.get(VARIABLE) or app.conf.get("autocelery_store")
    if chosen:
        return str(chosen)
    broker = _first(app.conf.broker_read_url or app.conf.broker_url)
    broker_options = app.conf.broker_transport_options or {}
    if _scheme(broker) in _REDIS:
        return _with_prefix(_with_tls(broker, app.conf.broker_use_ssl), broker_options)
    backend = _first(app.conf.result_backend)
    if _scheme(backend) in _REDIS:
        options = app.conf.result_backend_transport_options or {}
        return _with_prefix(_with_tls(backend, app.conf.redis_backend_use_ssl), options)
    if _scheme(broker) == "filesystem":
        return _beside(broker_options)
    if _is_sql(backend):
        return backend
    raise StoreNotConfigured(
        f"There is no place for code on its way to the workers: neither the broker ({_shown(broker)}) nor "
        f"the result backend ({_shown(backend)}) can hold it. Set {VARIABLE} to the address of a Redis, a "
        "database or a bucket, or to a folder that the workers share, here and on the workers: "
        f"{VARIABLE}=redis://localhost:6379/0"
    )


def open_store(url: str) -> BlobStore:
    """Return the store at ``url``: Redis, a SQL database, S3, what fsspec reaches, a folder or its path.

    Raises:
        ConfigurationError: the address is of no kind that is known here, or its package is missing.
    """
    scheme = _scheme(url)
    if scheme in _REDIS:
        prefix = dict(parse_qsl(urlsplit(url).query)).get(_PREFIX, DEFAULT_PREFIX)
        return RedisStore(url, prefix=prefix)
    if scheme == "file":
        return FolderStore(unquote(urlsplit(url).path))
    if scheme == "" and os.path.isabs(os.path.expanduser(url)):
        return FolderStore(os.path.expanduser(url))
    opener = _OPENERS.get(_kind(scheme))
    if opener is None:
        raise ConfigurationError(
            f"{without_password(url)!r} is no blob store. Set {VARIABLE} to redis://..., rediss://..., "
            "valkey://..., redis+socket:///path, postgresql+psycopg://..., sqlite:////path, s3://bucket/prefix, "
            "fsspec+gs://..., file:///folder or an absolute path."
        )
    return opener(url)


def _open_sql(url: str) -> BlobStore:
    with _needing("sqlalchemy", "sql", url):
        from autocelery._blobs.sql import SqlStore
    return SqlStore(url.removeprefix(_CELERYS_MARK))


def _open_s3(url: str) -> BlobStore:
    with _needing("boto3", "s3", url):
        from autocelery._blobs.s3 import Bucket
    return ObjectStore(Bucket(url))


def _open_fsspec(url: str) -> BlobStore:
    with _needing("fsspec", "fsspec", url):
        from autocelery._blobs.filesystems import Filesystem
    return ObjectStore(Filesystem(url))


#: By the scheme, up to a plus. Databases that cannot hold blobs are here to be told so.
_OPENERS: Mapping[str, Callable[[str], BlobStore]] = {
    **dict.fromkeys((*_SQL, "mysql", "mariadb", "oracle", "mssql"), _open_sql),
    "s3": _open_s3,
    "fsspec": _open_fsspec,
}


@contextmanager
def _needing(package: str, extra: str, url: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"The blob store {without_password(url)} needs the package {package!r}, which is not installed here. "
            f"Run: pip install 'autocelery[{extra}]'"
        ) from error


def _is_sql(backend: str) -> bool:
    """Whether Celery's database backend is one that can hold blobs, by an address that means one place."""
    scheme = _scheme(backend)
    if not scheme.startswith(_CELERYS_MARK) or _kind(scheme) not in _SQL:
        return False
    return _kind(scheme) != "sqlite" or urlsplit(backend).path.startswith("//")


def _kind(scheme: str) -> str:
    """Return the kind of database, or of store, in ``db+postgresql+psycopg`` and the like."""
    return scheme.removeprefix(_CELERYS_MARK).partition("+")[0]


def _first(url: object) -> str:
    """Return the first address: kombu takes several, as a list or with semicolons between."""
    if isinstance(url, list | tuple):
        url = url[0] if url else ""
    return str(url or "").split(";", 1)[0]


def _scheme(url: str) -> str:
    return url.split("://", 1)[0].lower() if "://" in url else ""


def _shown(url: str) -> str:
    return without_password(url) if url else "none"


def _with_tls(url: str, asked: object) -> str:
    """Return the address with what ``broker_use_ssl`` or ``redis_backend_use_ssl`` asks for."""
    parts = urlsplit(url)
    if not asked or parts.scheme not in _SECURE:
        return url
    options = asked if isinstance(asked, Mapping) else {}
    given = {name: value for name, value in options.items() if name.startswith("ssl_") and value is not None}
    told = {name: value.name if isinstance(value, VerifyMode) else value for name, value in given.items()}
    query = urlencode({**dict(parse_qsl(parts.query)), **told})
    return joined(_SECURE[parts.scheme], parts.netloc, parts.path, query)


def _with_prefix(url: str, options: Mapping[str, Any]) -> str:
    key_prefix = str(options.get("global_keyprefix") or "")
    if not key_prefix:
        return url
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query), (_PREFIX, key_prefix + DEFAULT_PREFIX)]
    return joined(parts.scheme, parts.netloc, parts.path, urlencode(query))


def _beside(options: Mapping[str, Any]) -> str:
    folder = options.get("control_folder") or options.get("data_folder_out") or "data_out"
    return f"file://{os.path.join(os.path.dirname(os.path.abspath(str(folder))), FOLDER_NAME)}"
