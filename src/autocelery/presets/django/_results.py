"""Results in a Django project: one that cannot come before the caller's own commit is not waited for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from celery import states
from celery.backends.base import Backend
from celery.result import ResultBase, ResultSet
from django.db import connections, router

from autocelery.errors import ResultNeverComes
from autocelery.presets.django._deferring import deferred_here


class ProjectResults(Backend):
    """Mixed into the class of the app's result backend."""

    def see_that_it_is_sent(self, result: Any) -> None:
        """Return if nothing that ``result`` hangs on waits for a commit of this thread's.

        Raises:
            ResultNeverComes: its call, or one before it, is sent when the transaction here is committed.
        """
        _see_that_all_are_sent([result])

    def wait_for_pending(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for a result.

        Raises:
            ResultNeverComes: its call, or one before it in a chain, is sent when the transaction here is committed,
                or the result can be stored only then.
        """
        self.see_that_it_is_sent(result)
        self._see_that_it_can_be_stored(result)
        return super().wait_for_pending(result, *args, **kwargs)

    def iter_native(self, result: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Yield the results of a group.

        Raises:
            ResultNeverComes: one of its calls is sent when the transaction here is committed.
        """
        _see_that_all_are_sent(result.results)
        yield from super().iter_native(result, *args, **kwargs)

    def _see_that_it_can_be_stored(self, result: Any) -> None:
        """SQLite shows a transaction nothing that others write from its first read on, and keeps them from writing."""
        model = getattr(self, "TaskModel", None)
        if model is None:
            return
        connection = connections[router.db_for_read(model)]
        if connection.vendor != "sqlite" or not connection.in_atomic_block:
            return
        if self.get_task_meta(result.id, cache=False)["status"] not in states.READY_STATES:
            raise ResultNeverComes(
                f"The result of {result.id} is to be stored in SQLite, where nobody can store one while this "
                "transaction is open. Wait after the transaction.atomic() block, or have results elsewhere: "
                "CELERY_RESULT_BACKEND."
            )


def with_project_results(backend: Any) -> Any:
    """Give ``backend`` the results of a Django project; a second time changes nothing."""
    kind = type(backend)
    if not issubclass(kind, ProjectResults):
        backend.__class__ = type(kind.__name__, (ProjectResults, kind), {"__module__": kind.__module__})
    return backend


def _see_that_all_are_sent(results: Iterable[ResultBase]) -> None:
    deferred = deferred_here()
    if not deferred:
        return
    for each in _with_what_is_before(results):
        if each.id in deferred:
            raise ResultNeverComes(
                f"{deferred[each.id].task.name}[{each.id}] is sent when the transaction that it was called in is "
                "committed, and its result is waited for before. Wait after the transaction.atomic() block, or send "
                "it at once: task.apply_async(args, send_on_commit=False). In a TestCase nothing is committed: call "
                "it in self.captureOnCommitCallbacks(execute=True)."
            )


def _with_what_is_before(results: Iterable[Any]) -> Iterator[Any]:
    """Yield ``results``, what is in those of groups, and what they hang on."""
    for each in results:
        yield each
        if isinstance(each, ResultSet):
            yield from _with_what_is_before(each.results)
        if each.parent is not None:
            yield from _with_what_is_before([each.parent])
