"""The snapshots that are laid out on a worker, the latest few of them, and the blobs that they need."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from autocelery._env.interpreters import SUPPORTED, cache_tag
from autocelery._hosting import contents
from autocelery._hosting.fetching import Fetcher
from autocelery._model import Lock, Manifest
from autocelery._snapshot import layout, manifest, trees
from autocelery._snapshot.cache import BlobCache
from autocelery._snapshot.canonical import is_digest
from autocelery._snapshot.patching import edit_between, is_untouched, patch, times_after, times_of
from autocelery.errors import SnapshotIncomplete

#: How many snapshots stay laid out when no host runs them.
KEPT_LAYOUTS = 16
#: How many of them are left as they are, for a user who goes back and forth, before an idle one becomes the next.
KEPT_FOR_RETURN = 4
#: To which part of its limit the cache is brought down when something new does not fit.
SHRUNK_TO = 0.9
#: How often a layout is begun again whose blobs went away under it.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A snapshot as a folder; ``digests`` are those of all its blobs.

    ``times`` tell whether tasks wrote beside its code since it was laid out;
    none are known of one that an earlier run of the worker left. ``copied``
    are the bytes of its executable files, which are no links to the cache.
    """

    manifest: Manifest
    folder: Path
    values: Path | None
    lock: Lock
    digests: frozenset[str]
    times: Mapping[str, int]
    copied: int


class Layouts:
    """Owns the layouts, the blob cache and the compiled code below ``base``. Safe for threads.

    Args:
        base: the worker's own folder.
        cache: in it.
        users: returns the snapshots whose layouts are in use.
    """

    def __init__(self, base: Path, cache: BlobCache, users: Callable[[], Collection[str]] = tuple) -> None:
        self.cache = cache
        self._users = users
        cache.clear_leftovers()
        cache.make_room = self._make_room
        self.compiled = base / "compiled"
        self._folder = base / "snapshots"
        for each in (self._folder, self.compiled):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ready: OrderedDict[str, LaidOut] = OrderedDict()
        self._pinned: dict[int, set[str]] = {}
        self._lock = threading.Lock()
        self._shrinking = threading.Lock()
        self._compiled_size = 0
        self._earlier = self._left_by_earlier_runs()
        self._is_swept = False
        #: What compiled code is called in the interpreters that hosts may run in.
        self._tags = {sys.implementation.cache_tag, *map(cache_tag, SUPPORTED)}

    def get(self, snapshot: str, is_shared: bool = False) -> LaidOut | None:
        """Return the layout of ``snapshot``, which is the latest used then, or ``None``.

        Args:
            snapshot: its id.
            is_shared: whether hosts run in it; then what a task did to it is left as it is.
        """
        with self._lock:
            ready = self._ready.get(snapshot)
            if ready is None:
                return None
            self._ready.move_to_end(snapshot)
        if ready.folder.exists() and (is_shared or self._is_whole(ready)):
            return ready
        with self._lock:
            self._ready.pop(snapshot, None)
            self._earlier.append(snapshot)  # and so it is laid out anew
        return None

    def make(
        self,
        snapshot: str,
        fetcher: Fetcher,
        check: Callable[[Manifest], None],
    ) -> LaidOut:
        """Fetch ``snapshot`` and lay it out.

        Args:
            snapshot: its id, verified.
            fetcher: gets its bytes.
            check: raises if this manifest cannot be run here.

        Raises:
            SnapshotRefused: it is malformed, or not for this environment, or larger than the cache may be.
            StoreError: the store does not give it.
            DiskFull: there is no room.
        """
        pins = self._pinned[id(fetcher)] = fetcher.pins
        try:
            for _ in range(_ATTEMPTS):
                made = self._made(snapshot, fetcher, check)
                if made is not None:
                    break
            else:
                raise SnapshotIncomplete(
                    f"Files of snapshot {snapshot[:12]} keep going away from {self._folder.parent} while it is laid "
                    "out. Is something else cleaning up there? Move the cache with AUTOCELERY_HOME."
                )
            with self._lock:
                self._ready[snapshot] = made
                if snapshot in self._earlier:
                    self._earlier.remove(snapshot)
            return made
        finally:
            del self._pinned[id(fetcher)]
            pins.clear()

    def tidy(self) -> None:
        """Keep the latest few layouts, those in use, and what they need, within the cache's limit."""
        # Who makes room meanwhile waits until the files are gone, and not only out of sight.
        with self._shrinking:
            self._remove_beyond(KEPT_LAYOUTS)
        self._shrink_to(self.cache.limit)
        layout.sweep(self._folder)

    @property
    def size(self) -> int:
        """How many bytes are kept: blobs, what layouts have copies of, and compiled code as it was lately."""
        with self._lock:
            copied = sum(each.copied for each in self._ready.values())
        return self.cache.used + copied + self._compiled_size

    def _make_room(self, size: int) -> None:
        """Have so many bytes fit into the cache's limit, as far as that can be had from what is not in use.

        A little more goes than has to, so that not each edit pays for it.
        """
        if self.size + size > self.cache.limit:
            self._shrink_to(int(self.cache.limit * SHRUNK_TO) - size)

    def _shrink_to(self, size: int) -> None:
        """Remove what no layout needs, and layouts, the least recently used first, until ``size`` bytes are kept."""
        with self._shrinking:
            self._sweep()
            while self.size > size and self._remove_beyond(0, most=1):
                self._sweep()

    def known(self) -> set[str]:
        """Return the snapshots that are laid out."""
        with self._lock:
            return {*self._ready, *self._earlier}

    def __contains__(self, digest: object) -> bool:
        """Whether a layout needs the blob, or one that is being made."""
        return any(digest in each for each in list(self._pinned.values())) or any(
            digest in each.digests for each in list(self._ready.values())
        )

    def _made(
        self,
        snapshot: str,
        fetcher: Fetcher,
        check: Callable[[Manifest], None],
    ) -> LaidOut | None:
        try:
            described = manifest.decode(fetcher.nodes([snapshot])[snapshot])
            check(described)
            patched = self._patched(snapshot, described, fetcher)
            if patched is not None:
                return patched
            found = contents.of_trees(described, fetcher)
            found.check(snapshot, self.cache.limit)
            with self.cache.room_for(found.copied):
                blobs = fetcher.files(found.sizes, chunked=found.chunked)
            extras = contents.extras_of(described, fetcher)
        except FileNotFoundError:  # the tidier took what was about to be used
            return None
        if snapshot in self._earlier and not layout.is_whole(
            self._folder / snapshot, described, found.nodes.__getitem__
        ):
            layout.remove(self._folder / snapshot, self._folder)
        is_new = not (self._folder / snapshot).exists()
        try:
            folder = layout.lay_out(
                described, snapshot, node=found.nodes.__getitem__, blob=blobs.__getitem__, folder=self._folder
            )
        except SnapshotIncomplete:
            return None
        # Interned: versions of a tree share most of their blobs, and then also the names of them.
        digests = frozenset(map(sys.intern, (snapshot, *found.nodes, *blobs, *extras.digests)))
        times = times_of(folder) if is_new else {}
        return LaidOut(described, folder, extras.values, extras.lock, digests, times, found.copied)

    def _patched(self, snapshot: str, described: Manifest, fetcher: Fetcher) -> LaidOut | None:
        """Make the layout that was used least recently this one, if just contents of files differ."""
        donor = self._oldest_idle()
        if donor is None or (self._folder / snapshot).exists():
            return None
        edit = edit_between(donor.manifest, described, self._kept_nodes, fetcher.nodes)
        if edit is None or contents.claimed_size(described, fetcher) + donor.copied > self.cache.limit:
            return None
        blobs = fetcher.files({digest: size for _, digest, size in edit.files}, chunked=edit.chunked)
        extras = contents.extras_of(described, fetcher)
        place = layout.scratch_place(self._folder)
        with self._lock:
            name = donor.folder.name
            if name in self._users() or self._ready.pop(name, None) is None:
                return None
            donor.folder.rename(place)
        folder = patch(place, edit, blobs.__getitem__, self._folder / snapshot)
        if folder is None:
            return None
        gone = {*edit.old, *edit.replaced, name, donor.manifest.values, donor.manifest.lock}
        digests = (donor.digests - gone) | edit.new
        digests |= frozenset(map(sys.intern, (snapshot, *blobs, *extras.digests)))
        times = times_after(edit, folder, donor.times)
        return LaidOut(described, folder, extras.values, extras.lock, digests, times, donor.copied)

    def _is_whole(self, ready: LaidOut) -> bool:
        """Whether everything is there that was laid out; a stat a folder where no file can have been written to."""
        if ready.times and os.geteuid() and is_untouched(ready.folder, ready.times):
            return True
        nodes: dict[str, bytes] = {}
        tops = [root.tree for root in ready.manifest.roots]
        try:
            for level in trees.walk(tops, lambda digests: self._kept_nodes(digests) or {}):
                nodes |= level.nodes
        except (SnapshotIncomplete, FileNotFoundError):  # nobody knows any more what was laid out
            return True
        return layout.is_whole(ready.folder, ready.manifest, nodes.__getitem__)

    def _kept_nodes(self, digests: Collection[str]) -> dict[str, bytes] | None:
        """Return nodes of a snapshot that was laid out before; its caller may be gone, so that nobody is asked."""
        paths = {digest: path for digest in digests if (path := self.cache.get(digest))}
        if len(paths) < len(digests):
            return None
        return {digest: path.read_bytes() for digest, path in paths.items()}

    def _oldest_idle(self) -> LaidOut | None:
        """Return the layout that was used least recently of those which are as they were laid out."""
        with self._lock:
            used = self._users()
            idle = [each for name, each in self._ready.items() if name not in used]
        old = idle[:-KEPT_FOR_RETURN]
        return next((each for each in old if each.times and is_untouched(each.folder, each.times)), None)

    def _remove_beyond(self, kept: int, most: int | None = None) -> bool:
        """Remove the oldest layouts but ``kept`` that nobody uses; return whether there was one."""
        with self._lock:
            users = self._users()
            idle = [each for each in [*self._earlier, *self._ready] if each not in users]
            gone = idle[: max(0, len(idle) - kept)][:most]
            for each in gone:
                self._ready.pop(each, None)
            self._earlier = [each for each in self._earlier if each not in gone]
        for each in gone:
            layout.remove(self._folder / each, self._folder)
        return bool(gone)

    def _sweep(self) -> None:
        swept = self.cache.sweep(self)
        for digest, tag in itertools.product(swept.removed, self._tags):
            (self.compiled / f"{digest}.{tag}").unlink(missing_ok=True)
        if not self._is_swept:
            self._is_swept = True
            self._forget_compiled(path.name for path in self.compiled.iterdir())
        with os.scandir(self.compiled) as entries:
            self._compiled_size = sum(map(_size_of, entries))

    def _forget_compiled(self, names: Iterable[str]) -> None:
        """Remove compiled code that an earlier run left, of sources that are no more."""
        for name in names:
            digest = name.partition(".")[0]
            if not is_digest(digest) or self.cache.find(digest) is None:
                (self.compiled / name).unlink(missing_ok=True)

    def _left_by_earlier_runs(self) -> list[str]:
        with os.scandir(self._folder) as entries:
            found = [(entry.stat().st_mtime, entry.name) for entry in entries if is_digest(entry.name)]
        return [name for _, name in sorted(found)]


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0
