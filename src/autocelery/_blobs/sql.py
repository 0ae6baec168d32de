"""A blob store in a table of a SQL database."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    MetaData,
    String,
    Table,
    case,
    delete,
    func,
    select,
    update,
)

from autocelery._blobs.protocol import BATCH_BYTES, DEFAULT_TTL, batches, in_parts
from autocelery._blobs.sql_database import Database

#: How many names one statement takes; an SQLite of some years ago takes 999 values.
NAMES_AT_ONCE = 500
#: Contents up to so many bytes come with the answer to which there are: together they are one batch.
_SMALL = BATCH_BYTES // NAMES_AT_ONCE
#: A row that was asked for lives anew once this part of its lifetime is over, not each time.
_RENEW_AFTER = 1 / 7
#: How often, in seconds, a put also looks for what is too old.
_SWEEP_EVERY = 3600

TABLE = Table(
    "autocelery_blobs",
    MetaData(),
    Column("name", String(200), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
)
_NAME, _CONTENT, _EXPIRES = TABLE.c.name, TABLE.c.content, TABLE.c.expires


class SqlStore:
    """Blobs as rows with a lifetime, each renewed when it is asked for. The first put makes the table.

    It owns a pool of connections, each process its own, which `close` empties.

    Args:
        url: as SQLAlchemy writes it: ``postgresql+psycopg://user@host/database``, ``sqlite:////path``.
        ttl: lifetime in seconds.

    Raises:
        ConfigurationError: the driver is not installed, or the address makes no sense.
    """

    def __init__(self, url: str, ttl: int = DEFAULT_TTL) -> None:
        self._database = Database(url, TABLE)
        self._ttl = ttl
        self._swept = float("-inf")

    @property
    def url(self) -> str:
        """The address without its password."""
        return self._database.url

    def missing(self, names: Collection[str]) -> set[str]:
        """Return the names without a row that lives; the others' lifetimes are renewed when it is time."""
        now = int(time.time())
        here: dict[str, int] = {}
        for part in in_parts(names, NAMES_AT_ONCE):
            asked = select(_NAME, _EXPIRES).where(_NAME.in_(part), now < _EXPIRES)
            here.update((name, expires) for name, expires in self._database.rows(asked))
        renewable = now + self._ttl * (1 - _RENEW_AFTER)
        aged = sorted(name for name, expires in here.items() if expires < renewable)
        for part in in_parts(aged, NAMES_AT_ONCE):
            self._database.change(update(TABLE).where(_NAME.in_(part)).values(expires=now + self._ttl))
        return set(names) - here.keys()

    def get(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the contents of those rows that live: the small at once, the large in batches of some 8 MB."""
        found: dict[str, bytes] = {}
        size, small = func.length(_CONTENT), case((func.length(_CONTENT) <= _SMALL, _CONTENT))
        for part in in_parts(names, NAMES_AT_ONCE):
            asked = select(_NAME, size, small).where(_NAME.in_(part), int(time.time()) < _EXPIRES)
            sizes: dict[str, int] = {}
            for name, length, content in self._database.rows(asked, len(part) * _SMALL):
                if content is None:
                    sizes[name] = length
                else:
                    found[name] = bytes(content)
            for large in _batches_of(sizes):
                contents = select(_NAME, _CONTENT).where(_NAME.in_(large))
                rows = self._database.rows(contents, sum(large.values()))
                found.update((name, bytes(content)) for name, content in rows)
        return found

    def put(self, blobs: Mapping[str, bytes]) -> None:
        """Insert or replace the rows, some 8 MB a transaction.

        They go in the order of their names, which is everybody's: of several
        clients that put the same, none waits for another in a circle.
        """
        for part in batches(dict(sorted(blobs.items()))):
            expires = int(time.time()) + self._ttl
            rows = [{"name": name, "content": value, "expires": expires} for name, value in part.items()]
            self._database.put(rows, sum(map(len, part.values())))
        if blobs and time.monotonic() - self._swept > _SWEEP_EVERY:
            self._swept = time.monotonic()
            self.sweep()

    def discard(self, names: Collection[str]) -> None:
        """Delete these rows."""
        for part in in_parts(names, NAMES_AT_ONCE):
            self._database.change(delete(TABLE).where(_NAME.in_(part)))

    def names(self, suffix: str) -> list[str]:
        """Return the names of rows that live and end with ``suffix``."""
        asked = select(_NAME).where(_NAME.endswith(suffix, autoescape=True), int(time.time()) < _EXPIRES)
        found = [name for (name,) in self._database.rows(asked)]
        return sorted(name for name in found if name.endswith(suffix))  # LIKE knows no case everywhere

    def close(self) -> None:
        """Close this process's connections."""
        self._database.close()

    def sweep(self) -> None:
        """Delete the rows whose lifetime is over."""
        self._database.change(delete(TABLE).where(int(time.time()) >= _EXPIRES))


def _batches_of(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Split names by the sizes of their contents, as `batches` splits contents."""
    part: dict[str, int] = {}
    for name, size in sizes.items():
        if part and sum(part.values()) + size > BATCH_BYTES:
            yield part
            part = {}
        part[name] = size
    if part:
        yield part
