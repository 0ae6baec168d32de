"""From the working tree as it is now to a snapshot that workers can fetch."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path

from celery import Celery

from autocelery import _config
from autocelery._blobs import BlobStore, needs, open_store, pack, store_url_for
from autocelery._celery import live_task
from autocelery._model import Snapshot
from autocelery._publish.attaching import CallerCarrier
from autocelery._publish.collecting import Collected, Collector
from autocelery._publish.healing import Healer
from autocelery._publish.recent import RecentBlobs
from autocelery._signing import keys, statement
from autocelery.errors import FileKeepsChanging

#: Seconds after which what the store is believed to hold is asked for again: below its lifetime of a week.
RENEWAL = 86_400
#: Bytes of what was sent last that are kept in memory, for a store that loses them.
RECENT = 16 * 2**20
#: How many times a tree that changes while it is sent is collected again.
ATTEMPTS = 5


class Shipper:
    """Makes snapshots of one app's working tree and sends what its store lacks. Safe for threads."""

    def __init__(self, app: Celery, top: Path | None) -> None:
        self._app = app
        self._collector = Collector(app, top)
        self._lock = threading.RLock()
        self._store: BlobStore | None = None
        self._known: set[str] = set()
        self._recent = RecentBlobs(RECENT)
        self._asked = 0.0
        self._signed: dict[str, float] = {}
        self._healer = Healer(self.requested, self._resend, self._answered)

    @property
    def top(self) -> Path:
        """The top of the working tree."""
        return self._collector.top

    @property
    def store(self) -> BlobStore:
        """The blob store.

        Raises:
            StoreNotConfigured: neither the app nor the environment gives one.
        """
        if self._store is None:
            self._store = open_store(store_url_for(self._app))
        return self._store

    @cached_property
    def carrier(self) -> CallerCarrier:
        """What keeps the arguments and opens the results that the app's serializer does not carry."""
        return CallerCarrier(self._app, lambda: self.store, self._recent)

    def ship(self, values: bytes | None = None) -> Snapshot:
        """Return the snapshot of the tree as it is now, once workers can fetch it.

        Args:
            values: the blob with functions that are in no module.

        Raises:
            SnapshotError: the tree cannot be shipped; nothing was sent.
            StoreError: the store does not take it.
        """
        with self._lock:
            for _ in range(ATTEMPTS):
                collected = self._collector.collect(values)
                if self._sent(collected):
                    break
            else:
                raise FileKeepsChanging(
                    f"Files of {self.top} changed each of the {ATTEMPTS} times they were about to be sent. "
                    "Wait for what writes them, or leave them out: [tool.autocelery] exclude in pyproject.toml."
                )
            live_task.made_here.add(collected.id)
            self._healer.watch(collected)
            return Snapshot(collected.id, self._key().id)

    def collect(self) -> Collected:
        """Return the tree as it is now; nothing is sent.

        Raises:
            SnapshotError: the tree cannot be shipped.
        """
        return self._collector.collect()

    def lacking(self, collected: Collected) -> list[str]:
        """Return which blobs of ``collected`` the store lacks, asking folder by folder from the top."""
        lacking: list[str] = []
        asked = [collected.id]
        while asked:
            missing = self.store.missing([name for name in asked if name not in self._known])
            lacking += sorted(missing)
            asked = sorted({child for name in missing for child in collected.below(name)})
        return lacking

    def _sent(self, collected: Collected) -> bool:
        """Send what is missing; false where a file changed before it was read."""
        if time.monotonic() - self._asked > RENEWAL:
            self._known.clear()
            self._signed.clear()
            self._asked = time.monotonic()
        now = time.time()
        if collected.id in self._signed and now < self._signed[collected.id]:
            return True
        lacking = self._unknown(collected) if self._known else self.lacking(collected)
        contents = _read(collected, lacking)
        if contents is None:
            return False
        self.store.put({**contents, **self._statement(collected, now)})
        self._recent.add(contents)
        self._known.update(collected.everything())
        return True

    def _unknown(self, collected: Collected) -> list[str]:
        return [name for name in collected.everything() if name not in self._known]

    def _statement(self, collected: Collected, now: float) -> dict[str, bytes]:
        key = self._key()
        days = _config.count_setting("AUTOCELERY_SIGNATURE_DAYS", _config.DEFAULT_SIGNATURE_DAYS)
        envelope = statement.sign(key, collected.id, int(now), int(now + days * 86_400), str(self.top))
        self._signed[collected.id] = now + days * 86_400 / 2
        return {f"{collected.id}.{key.id}.sig": envelope}

    def key_id(self) -> str:
        """Return the id of the key that this user signs with, made on first use."""
        return self._key().id

    def _key(self) -> keys.SigningKey:
        return keys.own_key(_config.home())

    def _resend(self, collected: Collected, names: Collection[str]) -> None:
        """Send again what a worker did not find; what cannot be read any more is left out, and its call fails.

        Who lacks the statement or a folder lacks more, and would ask level by level.
        """
        signature = f"{collected.id}.{self._key().id}.sig"
        folders = {collected.id, *(each for tree in collected.trees for each in tree.nodes)}
        wanted = {name for name in names if not name.endswith(".sig")}
        if signature in names or not folders.isdisjoint(wanted):
            wanted |= folders
        found = {name: blob for name in wanted if (blob := self._packed(collected, name)) is not None}
        if signature in names:
            found |= self._statement(collected, time.time())
        if found:
            self.store.put(found)

    def _packed(self, collected: Collected, name: str) -> bytes | None:
        raw = collected.read(name)
        return pack(raw) if raw is not None else self._recent.get(name)

    def requested(self) -> Mapping[str, needs.Need]:
        """Return what workers ask this author for, by the name of the entry in which they do."""
        asked = self.store.get(needs.slots(self._key().id)).items()
        return {name: need for name, content in asked if (need := needs.decode(content)) is not None}

    def _answered(self, names: Collection[str]) -> None:
        self.store.discard(names)


def _read(collected: Collected, names: Iterable[str]) -> dict[str, bytes] | None:
    contents = {}
    for name in names:
        raw = collected.read(name)
        if raw is None:
            return None
        contents[name] = pack(raw)
    return contents
