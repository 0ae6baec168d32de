"""Blob stores by their addresses: as people read them, and whether two of them may be the same one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from autocelery._blobs.addresses import without_password
from autocelery._blobs.redis import DEFAULT_PREFIX

_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1", "0.0.0.0"})
_REDIS_PORT = 6379
_POSTGRESQL_PORT = 5432

_SHOWN = {
    "folder": "the folder {0.server}",
    "file": "the SQLite file {0.server}",
    "sql": "PostgreSQL at {0.server}, database {0.database}",
    "s3": "the bucket s3://{0.database}",
    "other": "{0.server}",
}

#: Whether two addresses are of one store: ``unclear`` where names differ that may mean the same machine.
Likeness = Literal["same", "unclear", "different"]


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """Where a store is; ``server`` is a host and port, an endpoint, or the path of a socket, folder or file."""

    kind: Literal["redis", "folder", "file", "sql", "s3", "other"]
    server: str
    database: str = ""
    prefix: str = ""

    def __str__(self) -> str:
        if self.kind in _SHOWN:
            return _SHOWN[self.kind].format(self)
        keys = f", keys {self.prefix}*" if self.prefix != DEFAULT_PREFIX else ""
        return f"Redis at {self.server}, database {self.database}{keys}"

    @property
    def is_local(self) -> bool:
        """Whether the address means another store on another machine."""
        return self.kind == "folder" or self.server.startswith(("/", "localhost:"))


def address(url: str) -> StoreAddress:
    """Return where the store at ``url`` is; a password in it is left out.

    >>> str(address("redis://:secret@127.0.0.1/3")), str(address("file:///srv/blobs"))
    ('Redis at localhost:6379, database 3', 'the folder /srv/blobs')
    """
    parts = urlsplit(url)
    if parts.scheme == "file" or (not parts.scheme and url.startswith(("/", "~"))):
        return StoreAddress("folder", os.path.normpath(os.path.expanduser(unquote(parts.path))))
    if not parts.scheme.startswith(("redis", "valkey", "socket", "unix")):
        return _of_another_kind(url)
    options = dict(parse_qsl(parts.query))
    prefix = options.get("autocelery_prefix", DEFAULT_PREFIX)
    if parts.scheme.endswith(("socket", "unix")):
        database = options.get("virtual_host") or options.get("db") or "0"
        return StoreAddress("redis", unquote(parts.path), database.strip("/") or "0", prefix)
    server = _host_and_port(parts, _REDIS_PORT)
    return StoreAddress("redis", server, options.get("db") or parts.path.strip("/") or "0", prefix)


def _of_another_kind(url: str) -> StoreAddress:
    """Return the address of a database, a bucket, or whatever else."""
    parts = urlsplit(url)
    kind = parts.scheme.removeprefix("db+").partition("+")[0]
    if kind == "sqlite":
        return StoreAddress("file", os.path.normpath(unquote(parts.path).replace("//", "/", 1)))
    if kind == "postgresql":
        return StoreAddress("sql", _host_and_port(parts, _POSTGRESQL_PORT), parts.path.strip("/"))
    if kind == "s3":
        endpoint = dict(parse_qsl(parts.query)).get("endpoint_url", "")
        return StoreAddress("s3", endpoint, f"{parts.netloc}{parts.path}".rstrip("/"))
    return StoreAddress("other", without_password(url))


def _host_and_port(parts: SplitResult, port: int) -> str:
    host = parts.hostname or ""
    return f"{'localhost' if host in _LOCAL else host}:{parts.port or port}"


def likeness(here: StoreAddress, there: StoreAddress, same_machine: bool) -> Likeness:
    """Return whether the store that one process calls ``here`` may be what another calls ``there``.

    Args:
        here: the caller's.
        there: the worker's.
        same_machine: whether both processes run on one machine, so that a path or localhost means the same.
    """
    if here.kind != there.kind or (here.database, here.prefix) != (there.database, there.prefix):
        return "different"
    if here.kind in ("folder", "file") and same_machine:
        return "same" if os.path.realpath(here.server) == os.path.realpath(there.server) else "different"
    if here.server != there.server or (here.is_local and not same_machine):
        return "unclear"  # another name for the same server, a tunnel, a mount, the folder of a container
    return "same"


def is_new_folder(here: StoreAddress) -> bool:
    """Whether the store is a folder that the first live call will make."""
    return here.kind == "folder" and not Path(here.server).exists()
