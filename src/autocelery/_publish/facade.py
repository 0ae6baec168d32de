"""`Autocelery`: what a project adds to its app."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.task import Task
from celery.result import AsyncResult

from autocelery._celery import live_task, serving
from autocelery._model import Snapshot
from autocelery._publish import mapping, values
from autocelery._publish.calling import LiveCall, task_from
from autocelery._publish.shipping import Shipper
from autocelery.errors import AppNotFound, NotShippable, SnapshotNotFound
from autocelery_host import current_snapshot, messages


class Autocelery:
    """Adds the live task to a Celery app; everything else stays as it is.

    Args:
        app: the app, before or after its tasks are defined.
        top: the top of the working tree that is shipped. By default the git
            repository of the app's module, else the nearest folder upwards
            that looks like a project's; ``AUTOCELERY_ROOT`` says otherwise.

    >>> app = Celery("proj", broker="redis://")
    >>> auto = Autocelery(app)
    """

    def __init__(self, app: Celery, top: str | Path | None = None) -> None:
        self.app = app
        self._shipper = Shipper(app, Path(top).resolve() if top is not None else None)
        app.autocelery = self
        messages.install(app)
        _add_attributes()
        if app.finalized:
            live_task.add_to(app)
        else:
            app.on_after_finalize.connect(lambda **_: live_task.add_to(app), weak=False)
        serving.follow_workers_of(app)

    def snapshot(self) -> Snapshot:
        """Return the working tree as it is now, shipped: pin it once, use it many times.

        Inside a live task this is the snapshot that runs.

        Raises:
            SnapshotError: the tree cannot be shipped; nothing was sent.
            StoreError: the blob store does not take it.
        """
        here = current_snapshot()
        return Snapshot(*here) if here is not None else self._shipper.ship()

    def live(self, function: Any = None, /, **options: Any) -> Any:
        """Make calls live.

        Without a function: a context manager in which every call that this
        thread or task sends is live; ``auto.live(snapshot)`` pins it to one
        snapshot. With a function: something with ``delay`` and
        ``apply_async`` that runs this function, wherever it was defined.

        Args:
            function: a function, a task or a `Snapshot`.
            **options: of Celery's ``@app.task``, such as ``time_limit=60``.

        Raises:
            NotShippable: the function refers to what cannot be pickled.
        """
        if function is None:
            return self._sending(self._source)
        if isinstance(function, Snapshot):
            return self._sending(lambda task: function)
        if isinstance(function, Task):
            return LiveCall(function, self._source)
        task = task_from(self.app, function, dict(options))
        return LiveCall(task, self._with_value)

    def using(self, task: Task, snapshot: Snapshot | str) -> LiveCall:
        """Return ``task`` with calls that run exactly ``snapshot``: a `Snapshot`, or its whole id."""
        pinned = snapshot if isinstance(snapshot, Snapshot) else self._found(snapshot)
        return LiveCall(task, lambda _: pinned)

    def map(self, function: Any, items: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Yield ``function(item)`` for each item, in order, computed on the workers.

        Args:
            function: a task, or any function of one argument.
            items: the arguments; an iterator is read as it is needed.
            **options: ``chunk`` (items a call; default: by their number),
                ``window`` (calls that are under way at once, 64),
                ``timeout`` (seconds for each result), ``progress`` (a bar on
                standard error; default: where that is a terminal).

        Raises:
            Exception: what the function raised, at its item's place.
        """
        return mapping.mapped(self, function, items, **options)

    def wait(self, results: Iterable[AsyncResult], timeout: float | None = None) -> mapping.Waited:
        """Wait until all ``results`` are there and count them, failures with their errors.

        Args:
            results: what calls returned.
            timeout: seconds to wait for all of them.
        """
        return mapping.waited(results, timeout)

    def _sending(self, source: Callable[[Any], Snapshot]) -> AbstractContextManager[None]:
        def aim(name: str) -> tuple[str, str]:
            snapshot = source(self.app._tasks.get(name))
            return snapshot.id, snapshot.key

        return messages.sending_as(aim)

    def _source(self, task: Task | None) -> Snapshot:
        if task is not None and values.is_in_main(task) and current_snapshot() is None:
            return self._with_value(task)
        return self.snapshot()

    def _with_value(self, task: Task) -> Snapshot:
        if current_snapshot() is not None:
            raise NotShippable(
                f"{task.name} is in no module, and a live task has no key to sign it with. Move the function into "
                "a module of the tree, or send the call from outside."
            )
        return self._shipper.ship(values.packed_tasks(self.app, {task.name: task}))

    def _found(self, snapshot: str) -> Snapshot:
        names = self._shipper.store.names(".sig")
        found = [name.split(".") for name in names if name.startswith(snapshot)]
        if len({each[0] for each in found}) != 1:
            known = "several" if found else "no"
            raise SnapshotNotFound(
                f"{known} snapshot in {self._shipper.store.url} begins with {snapshot!r}. "
                "`autocelery snapshots list` shows them; give more digits, or take a new one with auto.snapshot()."
            )
        return Snapshot(found[0][0], found[0][1])


def of(task: Task) -> Autocelery:
    """Return the Autocelery of the task's app.

    Raises:
        AppNotFound: the app has none.
    """
    found = getattr(task.app, "autocelery", None)
    if found is None:
        raise AppNotFound(
            f"{task.name} belongs to an app without autocelery. Add `auto = Autocelery(app)` where the app is made."
        )
    return found  # type: ignore[no-any-return]


def _add_attributes() -> None:
    """Give every task ``.live`` and ``.using()``; a class that has its own keeps it."""
    if "live" not in vars(Task):
        Task.live = property(lambda task: LiveCall(task, of(task)._source))
        Task.using = lambda task, snapshot: of(task).using(task, snapshot)


