"""From the working tree as it is now to a snapshot that workers can fetch."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

from celery import Celery

from autocelery import _config
from autocelery._blobs import BlobStore, needs, open_store, store_url_for
from autocelery._celery import live_task
from autocelery._model import Snapshot
from autocelery._publish import withholding
from autocelery._publish.attaching import CallerCarrier
from autocelery._publish.collecting import Collected, Collector
from autocelery._publish.healing import Healer
from autocelery._publish.recent import RecentBlobs
from autocelery._publish.sealing import Sealer
from autocelery._publish.sending import FileChanged, in_batches
from autocelery._publish.transfers import Bar
from autocelery._signing import keys, statement
from autocelery._snapshot.reading import PAUSES, keeps_changing
from autocelery._snapshot.rules import ShipRules

#: Seconds after which what the store is believed to hold is asked for again: below its lifetime of a week.
RENEWAL = 86_400
#: Bytes of what was sent last that are kept in memory, for a store that loses them.
RECENT = 16 * 2**20
#: How many of the latest snapshots it is remembered of which variables their trees name.
REMEMBERED = 256
#: Bytes that are worth a round trip to the store, which may have some of them from others, or from earlier.
ASKED_FIRST = 2**20


class Shipper:
    """Makes snapshots of one app's working tree and sends what its store lacks. Safe for threads."""

    #: Whether calls run in this process, so that nothing is shipped; an eager app has a shipper of its own.
    runs_here = False

    def __init__(self, app: Celery, top: Path | None) -> None:
        self._app = app
        self._collector = Collector(app, top)
        self._lock = threading.RLock()
        self._store: BlobStore | None = None
        self._known: set[str] = set()
        self._recent = RecentBlobs(RECENT)
        self._asked = 0.0
        self._signed: dict[str, float] = {}
        self._env: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._told: set[tuple[str, str]] = set()
        self.sealer = Sealer(lambda: self.store)
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

    def env(self, snapshot: Snapshot | None = None) -> tuple[str, ...]:
        """Return the names of the variables that calls take along, as ``[tool.autocelery] env`` has them.

        Args:
            snapshot: what is called: its tree as this process sent it, else the tree as it is now. Another
                author's snapshot takes nothing along.

        Raises:
            ConfigurationError: they are no names.
        """
        if snapshot is None:
            return ShipRules.read(self.top).env
        if snapshot.id not in self._env:
            self._remember_env(snapshot.id)
        names = self._env.get(snapshot.id, ())
        return names if not names or snapshot.key == self.key_id() else ()

    def _remember_env(self, snapshot: str) -> None:
        self._env[snapshot] = ShipRules.read(self.top).env
        if len(self._env) > REMEMBERED:
            self._env.popitem(last=False)

    def ship(self, values: bytes | None = None, asked: tuple[str, ...] = ()) -> Snapshot:
        """Return the snapshot of the tree as it is now, once workers can fetch it.

        Args:
            values: the blob with functions that are in no module.
            asked: the packages that the call asks for, as requirements.

        Raises:
            SnapshotError: the tree cannot be shipped; nothing was sent.
            StoreError: the store does not take it.
        """
        with self._lock:
            collected = self._collect_and_send(values, asked)
            live_task.made_here.add(collected.id)
            self._healer.watch(collected)
            self._remember_env(collected.id)
            return Snapshot(collected.id, self._key().id)

    def _collect_and_send(self, values: bytes | None, asked: tuple[str, ...]) -> Collected:
        changed: FileChanged | None = None
        for pause in PAUSES:
            collected = self._collector.collect(values, asked)
            withholding.check(collected, self._told)
            try:
                self._send_missing(collected)
                return collected
            except FileChanged as change:
                changed = change
                time.sleep(pause)
        raise keeps_changing(str(changed), "about to be sent") from changed

    def collect(self) -> Collected:
        """Return the tree as it is now; nothing is sent.

        Raises:
            SnapshotError: the tree cannot be shipped.
        """
        return self._collector.collect()

    def lacking(self, collected: Collected) -> list[str]:
        """Return which blobs of ``collected`` the store lacks, asking folder by folder from the top."""
        lacking: dict[str, None] = {}
        asked = [collected.id]
        while asked:
            missing = self.store.missing([name for name in asked if name not in self._known])
            lacking |= dict.fromkeys(sorted(missing))
            asked = sorted({child for name in missing for child in collected.below(name)} - lacking.keys())
        return list(lacking)

    def _send_missing(self, collected: Collected) -> None:
        """Send what the store lacks.

        Raises:
            FileChanged: a file changed before it was read.
        """
        if time.monotonic() - self._asked > RENEWAL:
            self._known.clear()
            self._signed.clear()
            self._asked = time.monotonic()
        now = time.time()
        if collected.id in self._signed and now < self._signed[collected.id]:
            return
        everything = collected.everything(self._known)
        lacking = self._unknown(collected, everything) if self._known else set(self.lacking(collected))
        # What is named goes before what names it: an upload that is interrupted leaves nothing that seems whole.
        names = [name for name in everything if name in lacking]
        try:
            self._send(collected, names, now)
        except BaseException:
            self._known.clear()  # the store is asked how far this came
            raise
        self._known.update(everything)
        self._signed[collected.id] = now + self._seconds_valid() / 2

    def _unknown(self, collected: Collected, names: Collection[str]) -> set[str]:
        """Return those of ``names`` that the store is not known to have; of many bytes it is asked first."""
        unknown = set(names) - self._known
        return self.store.missing(unknown) if sum(map(collected.size_of, unknown)) > ASKED_FIRST else unknown

    def _send(self, collected: Collected, names: Collection[str], now: float) -> None:
        """Put the blobs in batches, the statement with the last of them."""
        size = sum(map(collected.size_of, names))
        waiting: dict[str, bytes] = {}
        with Bar("sending files") as bar:
            for batch, done in in_batches(collected, names):
                if waiting:
                    self.store.put(waiting)
                waiting = batch
                bar.show(done, size)
                is_small = size <= RECENT  # chunks of much more would take the place of all that is kept
                self._recent.add(
                    {name: batch[name] for name in batch if is_small or not collected.is_chunk(name)}
                )
            self.store.put({**waiting, **self._statement(collected, now)})

    def _statement(self, collected: Collected, now: float) -> dict[str, bytes]:
        key, expires = self._key(), int(now + self._seconds_valid())
        envelope = statement.sign(key, collected.id, int(now), expires, str(self.top))
        return {f"{collected.id}.{key.id}.sig": envelope}

    def _seconds_valid(self) -> int:
        return 86_400 * _config.count_setting("AUTOCELERY_SIGNATURE_DAYS", _config.DEFAULT_SIGNATURE_DAYS)

    def key_id(self) -> str:
        """Return the id of the key that this user signs with, made on first use."""
        return self._key().id

    def _key(self) -> keys.SigningKey:
        return keys.own_key(_config.home())

    def _resend(self, collected: Collected, names: Collection[str]) -> None:
        """Send again what a worker did not find; what cannot be read any more is left out, and its call fails.

        Who lacks the statement or a folder lacks more, and would ask level by level. What is
        there again was sent a moment ago: who waits asks time and again.
        """
        signature = f"{collected.id}.{self._key().id}.sig"
        folders = {collected.id, *(each for tree in collected.trees for each in tree.nodes)}
        wanted = {name for name in names if not name.endswith(".sig")}
        if signature in names or not folders.isdisjoint(wanted):
            wanted |= folders
        missing = self.store.missing(wanted) if wanted else set()
        lacking = [name for name in collected.everything() if name in missing]
        lacking += sorted(missing.difference(lacking))
        for batch, _ in in_batches(collected, lacking, self._kept):
            self.store.put(batch)
        if signature in names:
            self.store.put(self._statement(collected, time.time()))

    def _kept(self, name: str) -> bytes | None:
        return self.sealer.get(name) or self._recent.get(name)

    def requested(self) -> Mapping[str, needs.Need]:
        """Return what workers ask this author for, by the name of the entry in which they do."""
        asked = self.store.get(needs.slots(self._key().id)).items()
        return {name: need for name, content in asked if (need := needs.decode(content)) is not None}

    def _answered(self, names: Collection[str]) -> None:
        self.store.discard(names)
