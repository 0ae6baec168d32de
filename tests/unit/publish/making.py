"""A short way to a snapshot that was collected from one folder, in the tests of callers."""

from __future__ import annotations

from pathlib import Path

from autocelery._publish.collecting import Collected
from autocelery._publish.roots import Roots, ShippedRoot
from autocelery._snapshot.manifest import snapshot_id
from tests.unit.snapshot import making


def collected(top: Path) -> Collected:
    tree = making.collected(top)
    manifest = making.manifest_of(tree.digest)
    return Collected(
        manifest, snapshot_id(manifest), (tree,), Roots((ShippedRoot("tree", top),), ("tree",), "tree")
    )
