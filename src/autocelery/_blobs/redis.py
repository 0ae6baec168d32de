"""A blob store in Redis or Valkey."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from autocelery._blobs.addresses import joined, short, without_password
from autocelery._blobs.protocol import DEFAULT_TTL, batches, in_parts
from autocelery.errors import ConfigurationError, StoreFull, StoreUnavailable

DEFAULT_PREFIX = "autocelery:"
CONNECT_TIMEOUT = 3.0
SOCKET_TIMEOUT = 5.0
#: How many names one round trip asks for, so that no answer outgrows a client's buffer.
_NAMES_AT_ONCE = 1000

_SCHEMES = {
    "redis": "redis",
    "valkey": "redis",
    "rediss": "rediss",
    "valkeys": "rediss",
    "redis+socket": "unix",
    "valkey+socket": "unix",
    "socket": "unix",
    "unix": "unix",
}
_OPTIONS = frozenset({"db", "username", "password"})
#: redis-py puts the command before it, and with it what was to be stored.
_BEFORE_REASON = " of pipeline caused error: "


class RedisStore:
    """Blobs as string keys with a lifetime, each renewed when it is asked for.

    It owns a connection pool, which `close` empties. Connections are made on
    first use, with bounded times: no call hangs on a server that is gone.

    Args:
        url: as kombu and redis-py write it: ``redis://``, ``rediss://``, ``valkey://``,
            ``redis+socket:///path?virtual_host=0``, ``unix:///path?db=0``.
        prefix: what every key begins with.
        ttl: lifetime in seconds.

    Raises:
        ConfigurationError: the ``redis`` package is not installed, or the address makes no sense.
    """

    def __init__(self, url: str, prefix: str = DEFAULT_PREFIX, ttl: int = DEFAULT_TTL) -> None:
        self._url = without_password(url)
        self._prefix = prefix.encode()
        self._ttl = ttl
        self._redis, self._client = _connect(url, self._url)

    @property
    def url(self) -> str:
        """The server's address without its password."""
        return self._url

    def missing(self, names: Collection[str]) -> set[str]:
        """Return the names that have no key; EXPIRE both answers that and renews the others."""
        absent: set[str] = set()
        for part in in_parts(names, _NAMES_AT_ONCE):
            with self._reaching():
                pipe = self._client.pipeline(transaction=False)
                for name in part:
                    pipe.expire(self._key(name), self._ttl)
                absent.update(name for name, here in zip(part, pipe.execute(), strict=True) if not here)
        return absent

    def get(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the values of those keys that are here."""
        found: dict[str, bytes] = {}
        for part in in_parts(names, _NAMES_AT_ONCE):
            with self._reaching():
                values = self._client.mget([self._key(name) for name in part])
            found.update((name, value) for name, value in zip(part, values, strict=True) if value is not None)
        return found

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Set each key with its lifetime, some 8 MB a round trip; of a full server's, none of them."""
        for part in batches(blobs):
            with self._reaching():
                pipe = self._client.pipeline(transaction=True)
                for name, value in part.items():
                    pipe.set(self._key(name), value, ex=self._ttl)
                pipe.execute()

    def discard(self, names: Collection[str]) -> None:
        """Delete these keys."""
        for part in in_parts(names, _NAMES_AT_ONCE):
            with self._reaching():
                self._client.delete(*(self._key(name) for name in part))

    def names(self, suffix: str) -> list[str]:
        """Return the names of keys that end with ``suffix``, by SCAN, which blocks nobody."""
        pattern = _no_glob(self._prefix) + b"*" + _no_glob(suffix.encode())
        with self._reaching():
            keys = set(self._client.scan_iter(match=pattern, count=1000))
        return sorted(key[len(self._prefix) :].decode() for key in keys)

    def close(self) -> None:
        """Close the pool's connections."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def _key(self, name: str) -> bytes:
        return self._prefix + name.encode()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        errors = self._redis.exceptions
        try:
            yield
        except errors.RedisError as error:
            text = str(error).rpartition(_BEFORE_REASON)[2]
            if isinstance(error, errors.OutOfMemoryError) or "OOM" in text or "MISCONF" in text:
                raise StoreFull(
                    f"The blob store {self._url} has no room ({short(text)}). Raise its maxmemory, free "
                    "memory or disk there, or name another store in AUTOCELERY_STORE."
                ) from None
            raise StoreUnavailable(
                f"The blob store {self._url} cannot be used ({short(text)}). Check that the server runs and "
                "that address and password are right, or name another store in AUTOCELERY_STORE."
            ) from None


def client_url(url: str) -> str:
    """Return ``url`` as redis-py reads it.

    >>> client_url("redis+socket:///run/redis.sock?virtual_host=2")
    'unix:///run/redis.sock?db=2'
    """
    parts = urlsplit(url)
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ConfigurationError(f"{without_password(url)} is no address of a Redis or Valkey server.")
    options = dict(parse_qsl(parts.query))
    if "virtual_host" in options:
        options["db"] = options.pop("virtual_host").strip("/") or "0"
    kept = {
        key: value.removeprefix("CERT_").lower() if key == "ssl_cert_reqs" else value
        for key, value in options.items()
        if key in _OPTIONS or (key.startswith("ssl_") and scheme == "rediss")
    }
    if scheme == "unix":
        path = quote(unquote(parts.path or "/"))
        return joined(scheme, parts.netloc, path, urlencode(kept))
    return joined(scheme, parts.netloc, parts.path.rstrip("/"), urlencode(kept))


def _connect(url: str, shown: str) -> tuple[Any, Any]:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise ConfigurationError(
            f"The blob store {shown} needs the package 'redis', which is not installed here. "
            "Run: pip install 'autocelery[redis]'"
        ) from error
    # One retry mends a pooled connection that the server has closed; more would only stretch an outage.
    retry = Retry(NoBackoff(), 1, supported_errors=(redis.exceptions.ConnectionError,))
    try:
        client = redis.Redis.from_url(
            client_url(url),
            socket_timeout=SOCKET_TIMEOUT,
            retry=retry,
            decode_responses=False,
            **(
                {}
                if _SCHEMES[urlsplit(url).scheme] == "unix"
                else {"socket_connect_timeout": CONNECT_TIMEOUT}
            ),
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"The blob store's address {shown} is wrong: {short(str(error))}") from None
    return redis, client


def _no_glob(text: bytes) -> bytes:
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", text)
