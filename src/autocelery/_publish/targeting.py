"""What a live call runs: a snapshot, and the variables that go with it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from celery.app.task import Task

from autocelery._model import Snapshot
from autocelery._publish import variables
from autocelery_host import current_snapshot
from autocelery_host.header import Target

if TYPE_CHECKING:
    from autocelery._publish.facade import Autocelery


def target(
    auto: Autocelery,
    task: Task | None,
    source: Callable[[Any], Snapshot] | Snapshot,
    env: Collection[str] = (),
) -> Target:
    """Return what a call of ``task`` that is sent now runs.

    Args:
        auto: of the task's app.
        task: what is called, where this process knows it.
        source: the snapshot, or what gives it.
        env: names of variables, beside those of the project and of ``with auto.live(env=...)``.

    Raises:
        VariablesError: they cannot travel, one is not set for instance; nothing was sent.
        SnapshotError: the tree cannot be shipped; nothing was sent.
        StoreError: the blob store does not take it.
    """
    names = variables.named_here().union(env)
    if current_snapshot() is not None:
        snapshot = _given(source, task)
        return Target(snapshot.id, snapshot.key, variables.handed_on(snapshot.id, names))
    pinned = source if isinstance(source, Snapshot) else None
    values = variables.values_of(names.union(auto.shipper.env(pinned)))
    snapshot = _given(source, task)
    return Target(snapshot.id, snapshot.key, auto.shipper.sealer.seal(snapshot, values))


def _given(source: Callable[[Any], Snapshot] | Snapshot, task: Task | None) -> Snapshot:
    return source if isinstance(source, Snapshot) else source(task)
