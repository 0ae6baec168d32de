"""Results of an app that runs in the calling process: looked up as ever, and never waited for in vain."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from celery import states
from celery.backends.base import Backend
from celery.result import ResultBase, ResultSet

from autocelery.errors import ResultNeverComes

if TYPE_CHECKING:
    from autocelery._eager.application import Eager

#: Celery's own results in memory: the last 5,000 of this process.
IN_MEMORY = "cache+memory://"


class EagerResults(Backend):
    """Mixed into the class of the app's result backend, whatever that is."""

    eager: Eager

    def wait_for_pending(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Run what is due, then return the result.

        Raises:
            ResultNeverComes: nothing in this process is going to store it.
        """
        self._run_for([result])
        return super().wait_for_pending(result, *args, **kwargs)

    def iter_native(self, result: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Run what is due, then yield the results of a group.

        Raises:
            ResultNeverComes: nothing in this process is going to store one of them.
        """
        self._run_for(_single(result.results))
        yield from super().iter_native(result, *args, **kwargs)

    def store_result(self, task_id: Any, result: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        """Store a result, attached where it is a live call's and the serializer does not carry it."""
        snapshot = self.eager.live_snapshot()
        if snapshot is not None:
            result = self.attached(task_id, result, state, snapshot)
        return super().store_result(task_id, result, state, *args, **kwargs)

    def on_chord_part_return(self, request: Any, state: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Hand a result to the chord that waits for it, likewise."""
        snapshot = self.eager.live_snapshot()
        if snapshot is not None:
            result = self.attached(request.id, result, state, snapshot)
        return super().on_chord_part_return(request, state, result, *args, **kwargs)

    def _get_result_meta(
        self, result: Any, state: Any, traceback: Any, request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if getattr(request, "arguments_sent", None):  # stored with the result (result_extended) as they came
            request = copy.copy(request)
            request.args, request.kwargs = request.arguments_sent
        return super()._get_result_meta(result, state, traceback, request, *args, **kwargs)

    def _run_for(self, results: Iterable[Any]) -> None:
        wanted = list(results)
        if all(self._is_stored(each) for each in wanted):
            return
        self.eager.run_due()
        for each in wanted:
            if not self._is_stored(each):
                self.eager.wait_for_other_threads()
            if not self._is_stored(each):
                raise ResultNeverComes(self._reason(each.id))

    def _is_stored(self, result: Any) -> bool:
        return result.ignored or self.get_task_meta(result.id, cache=False)["status"] in states.READY_STATES

    def _reason(self, task_id: str) -> str:
        for waiting in self.eager.line.waiting():
            if waiting.raw["headers"].get("id") == task_id:
                return (
                    f"{waiting.name}[{task_id}] is due at {waiting.due:%H:%M:%S} UTC, and the clock of this test is "
                    f"held at {self.eager.clock.now():%H:%M:%S}. Move it there first."
                )
        return (
            f"No call {task_id} waits in this process, where tasks run eagerly, and none of that id has ended. It was "
            "never sent, was sent by a process that is gone, or its task ignores results."
        )


def _single(results: Iterable[ResultBase]) -> Iterator[Any]:
    for each in results:
        if isinstance(each, ResultSet):
            yield from _single(each.results)
        else:
            yield each


def with_eager_results(backend: Any, eager: Eager) -> Any:
    """Give ``backend`` the results of ``eager``; a second time only says whose they are."""
    kind = type(backend)
    if not issubclass(kind, EagerResults):
        backend.__class__ = type(kind.__name__, (EagerResults, kind), {"__module__": kind.__module__})
    backend.eager = eager
    return backend
