"""Snapshots that were sent: which are in the store, what is in them, and their end."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autocelery import _config
from autocelery._blobs import unpack
from autocelery._model import Manifest, Snapshot, Statement
from autocelery._publish import naming, stores
from autocelery._publish.checking_out import LARGEST, check_out
from autocelery._signing import keys, statement
from autocelery._snapshot import manifest as manifests
from autocelery._snapshot import tree, trees
from autocelery._snapshot.canonical import is_digest
from autocelery.errors import ConfigurationError, SnapshotNotFound, SnapshotRefused

if TYPE_CHECKING:
    from autocelery._publish.facade import Autocelery


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A snapshot in the store; times are seconds since the epoch, 0 where the key is not trusted here."""

    id: str
    key: str
    issued: int
    expires: int
    local_root: str
    trusted: bool
    revoked: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two snapshots; ``kind`` is ``added``, ``removed`` or ``changed``."""

    kind: str
    path: str


def snapshots(auto: Autocelery) -> list[SnapshotRecord]:
    """Return the snapshots in the app's store, the latest first."""
    store = auto.shipper.store
    signed = [name.split(".")[:2] for name in store.names(".sig")]
    revoked = {name.split(".")[0] for name in store.names(".revoked")}
    envelopes = store.get([f"{snapshot}.{key}.sig" for snapshot, key in signed])
    trusted = keys.trusted_keys(_config.home())
    found = []
    for snapshot, key in signed:
        said = _verified(envelopes.get(f"{snapshot}.{key}.sig", b""), snapshot, trusted)
        times = (said.issued, said.expires, said.local_root) if said else (0, 0, "")
        found.append(SnapshotRecord(snapshot, key, *times, said is not None, snapshot in revoked))
    return sorted(found, key=lambda each: (-each.issued, each.id))


def found(auto: Autocelery, prefix: str) -> Snapshot:
    """Return the one snapshot in the app's store that begins with ``prefix``.

    Raises:
        SnapshotNotFound: there is none, or more than one.
    """
    own = auto.shipper.key_id()  # several authors may have signed it: prefer oneself
    whole = _signed_by_known(auto, prefix, own) if is_digest(prefix) else None
    if whole is not None:
        return whole
    stored = auto.shipper.store.names(".sig") if prefix else []  # nothing is not short for anything
    names = [name.split(".") for name in stored if name.startswith(prefix)]
    ids = sorted({each[0] for each in names})
    if len(ids) != 1:
        raise SnapshotNotFound(_not_the_one(auto, prefix, ids))
    signers = [each[1] for each in names]
    return Snapshot(ids[0], own if own in signers else signers[0])


def _signed_by_known(auto: Autocelery, snapshot: str, own: str) -> Snapshot | None:
    """Ask for exactly the signatures of those whom this user trusts: to list a store may take long."""
    signers = list(dict.fromkeys([own, *keys.trusted_keys(_config.home())]))
    missing = auto.shipper.store.missing([f"{snapshot}.{key}.sig" for key in signers])
    here = [key for key in signers if f"{snapshot}.{key}.sig" not in missing]
    return Snapshot(snapshot, here[0]) if here else None


def _not_the_one(auto: Autocelery, prefix: str, ids: list[str]) -> str:
    where, listing = shown_store(auto), f"autocelery {naming.options_of(auto.app)} snapshots list"
    if ids:
        some = ", ".join(each[:12] for each in ids[:5]) + (", ..." if len(ids) > 5 else "")
        return f"{len(ids)} snapshots begin with {prefix!r}: {some}. Give more digits; all of them: {listing}"
    return (
        f"No snapshot whose id begins with {prefix!r} is in {where}. It was sent to another store, or has been "
        f"evicted since. Those that are there: {listing}. A new one of the working tree: auto.snapshot()"
    )


def shown_store(auto: Autocelery) -> str:
    """Return what people call the app's store: ``Redis at localhost:6379, database 0``."""
    return str(stores.address(auto.shipper.store.url))


def resolve(auto: Autocelery, prefix: str) -> str:
    """Return the id of the one snapshot in the store that begins with ``prefix``.

    Raises:
        SnapshotNotFound: there is none, or more than one.
    """
    return auto.found(prefix).id


def manifest(auto: Autocelery, snapshot: str) -> Manifest:
    """Return the manifest of a snapshot in the store.

    Raises:
        SnapshotNotFound: it is not there any more.
    """
    raw = _fetch(auto, [snapshot]).get(snapshot)
    if raw is None:
        raise SnapshotNotFound(
            f"The snapshot {snapshot[:12]} is not in {shown_store(auto)} any more: it was evicted there. Send a call "
            "from its tree again."
        )
    return manifests.decode(raw)


def paths(auto: Autocelery, snapshot: str) -> dict[str, tuple[str, str, int]]:
    """Return ``(kind, digest, size in bytes)`` of every file and link of a snapshot, by its path in the layout."""
    return {
        path: (entry.kind, entry.digest, entry.size)
        for root in manifest(auto, snapshot).roots
        for path, entry in _walk(auto, root.name, root.tree)
    }


def diff(auto: Autocelery, before: str, after: str) -> list[Change]:
    """Return what changed from one snapshot to another, sorted by path."""
    old, new = paths(auto, before), paths(auto, after)
    changes = [Change("removed", path) for path in old.keys() - new.keys()]
    changes += [Change("added", path) for path in new.keys() - old.keys()]
    changes += [Change("changed", path) for path in old.keys() & new.keys() if old[path][:2] != new[path][:2]]
    return sorted(changes, key=lambda each: each.path)


def checkout(auto: Autocelery, snapshot: str, folder: Path) -> Path:
    """Lay a snapshot out as ``folder``, which must not exist yet; its files are read-only.

    Raises:
        ConfigurationError: there is something at ``folder``.
        SnapshotIncomplete: the store lacks some of its files.
        DiskFull: there is no room; nothing is left of it.
    """
    if folder.exists():
        raise ConfigurationError(f"{folder} exists already. Name a folder that does not.")
    check_out(manifest(auto, snapshot), snapshot, auto.shipper.store, shown_store(auto), folder)
    return folder


def revoke(auto: Autocelery, snapshot: str) -> int:
    """Revoke a snapshot: in the store, and at every worker that answers; returns how many said that they did."""
    key = keys.own_key(_config.home())
    envelope = statement.revoke(key, snapshot, time.time())
    auto.shipper.store.put({f"{snapshot}.revoked": envelope})
    arguments = {"snapshot": snapshot, "envelope": envelope.hex()}
    replies = (
        auto.app.control.broadcast("autocelery_revoke", arguments=arguments, reply=True, timeout=1.0) or []
    )
    return sum(bool(told.get("revoked")) for reply in replies for told in reply.values())


def _verified(envelope: bytes, snapshot: str, trusted: Mapping[str, keys.PublicKey]) -> Statement | None:
    try:
        return statement.verify(envelope, snapshot, trusted, time.time())
    except SnapshotRefused:
        return None


def _fetch(auto: Autocelery, names: Collection[str]) -> dict[str, bytes]:
    stored = auto.shipper.store.get(names)
    return {name: unpack(packed, None, LARGEST) for name, packed in stored.items()}


def _walk(auto: Autocelery, prefix: str, digest: str) -> Iterator[tuple[str, tree.Entry]]:
    nodes: dict[str, bytes] = {}
    for level in trees.walk(digest, lambda names: _fetch(auto, names)):
        nodes |= level.nodes
    waiting = [(prefix, digest)]
    while waiting:
        folder, node = waiting.pop()
        for entry in tree.decode(nodes[node]):
            path = f"{folder}/{entry.name}"
            if entry.kind == tree.FOLDER:
                waiting.append((path, entry.digest))
            else:
                yield path, entry
