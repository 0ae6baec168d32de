"""What collecting a tree has learned about it, for the next time."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import secrets
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autocelery._snapshot.listing import Listing
from autocelery._snapshot.reading import FileState
from autocelery._snapshot.rules import ShipRules
from autocelery._snapshot.watching import Watch, WatchedFolder

if TYPE_CHECKING:
    from autocelery._snapshot.collected import CollectedTree, Node

_VERSION = 2
#: So many files may be read again by the next process before they are written down at once; fewer wait
#: for the end of this one, so that an edit does not pay for writing the whole memory.
_UNSAVED_MAX = 64
#: Tops that nobody collected for so long, in seconds, are forgotten.
_FORGET_AFTER = 30 * 24 * 3600


@dataclass(slots=True)
class TopMemory:
    """What is known of one tree: the listing, each file's state, each folder's node, links not shipped."""

    rules: ShipRules | None = None
    listing: Listing | None = None
    files: dict[str, dict[str, FileState]] = field(default_factory=dict)
    nodes: dict[str, Node | None] = field(default_factory=dict)
    tree: CollectedTree | None = None
    hidden: frozenset[str] = frozenset()
    unsaved: int = 0


class StatMemory:
    """The stat caches of all trees that one user collects.

    It owns the files in ``folder``, one for each tree, written by atomic
    renames. A file that cannot be read counts as empty; nothing in here is
    needed to be right, only to be fast. Threads take turns on one tree.

    Args:
        folder: where the memory is kept between processes; ``None`` to keep it in this process only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._tops: dict[str, TopMemory] = {}
        self._locks: dict[str, threading.RLock] = {}
        self._guard = threading.Lock()
        if folder is not None:
            atexit.register(_save_at_exit, weakref.ref(self))

    @contextmanager
    def of(self, top: str) -> Iterator[TopMemory]:
        """Lend the memory of the tree at ``top`` (absolute, without links) to one thread at a time."""
        with self._guard:
            lock = self._locks.setdefault(top, threading.RLock())
        with lock:
            memory = self._tops.get(top)
            if memory is None:
                memory = self._tops[top] = self._load(top)
            yield memory
            if memory.unsaved > _UNSAVED_MAX:
                self._save(top, memory)

    def forget(self, top: Path | str) -> None:
        """Start anew with the tree at ``top``: the next collect lists and reads everything."""
        with self.of(os.path.realpath(top)) as memory:
            memory.rules = memory.listing = memory.tree = None
            memory.files, memory.nodes, memory.unsaved = {}, {}, 0

    def save(self) -> None:
        """Write down what was learned since it was last written."""
        for top, memory in list(self._tops.items()):
            with self._locks[top]:
                if memory.unsaved:
                    self._save(top, memory)

    def _path(self, top: str) -> Path | None:
        name = hashlib.sha256(os.fsencode(top)).hexdigest()[:32]
        return self._folder / f"{name}.json" if self._folder else None

    def _load(self, top: str) -> TopMemory:
        path = self._path(top)
        if path is None:
            return TopMemory()
        try:
            return _from_json(json.loads(path.read_bytes()), top)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            return TopMemory()

    def _save(self, top: str, memory: TopMemory) -> None:
        path = self._path(top)
        if path is None or memory.listing is None:
            memory.unsaved = 0
            return
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        # A full disk or a home without write access costs speed next time, and no call.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                temporary.write_text(json.dumps(_to_json(memory, top), separators=(",", ":")))
                os.replace(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            _sweep(path.parent)
        memory.unsaved = 0


def _to_json(memory: TopMemory, top: str) -> dict[str, Any]:
    listing, rules = memory.listing, memory.rules
    assert listing is not None
    assert rules is not None
    return {
        "v": _VERSION,
        "top": top,
        "rules": [rules.include, rules.exclude, rules.max_size],
        "rule_files": listing.watch.rule_files,
        "folders": {
            folder: [seen.signature, None if seen.names is None else sorted(seen.names), seen.is_settled]
            for folder, seen in listing.watch.folders.items()
        },
        "files": {
            folder: {name: memory.files.get(folder, {}).get(name) for name in names}
            for folder, names in listing.names.items()
        },
    }


def _from_json(saved: dict[str, Any], top: str) -> TopMemory:
    if saved["v"] != _VERSION or saved["top"] != top:
        raise ValueError("another version, or another tree")
    include, exclude, max_size = saved["rules"]
    folders = {
        folder: WatchedFolder(
            tuple(signature),
            None if names is None else frozenset((str(name), bool(is_dir)) for name, is_dir in names),
            bool(is_settled),
        )
        for folder, (signature, names, is_settled) in saved["folders"].items()
    }
    rule_files = {
        path: None if known is None else tuple(known) for path, known in saved["rule_files"].items()
    }
    files = {
        folder: {
            name: FileState(
                tuple(state[0]), bool(state[1]), str(state[2]), str(state[3]), tuple(state[4]), str(state[5])
            )
            for name, state in states.items()
            if state is not None
        }
        for folder, states in saved["files"].items()
    }
    return TopMemory(
        rules=ShipRules(tuple(include), tuple(exclude), max_size),
        listing=Listing(
            {folder: tuple(states) for folder, states in saved["files"].items()}, Watch(folders, rule_files)
        ),
        files=files,
    )


def _sweep(folder: Path) -> None:
    oldest = time.time() - _FORGET_AFTER
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            if entry.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(entry.path)


def _save_at_exit(reference: weakref.ref[StatMemory]) -> None:
    memory = reference()
    if memory is not None:
        memory.save()
