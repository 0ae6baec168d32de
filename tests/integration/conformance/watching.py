"""What a worker and its callers say about calls while they run: events, from all who send them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery
from celery.utils import uuid

from tests.waiting import PATIENCE, wait_for

#: Event types after which a call that was sent once has nothing more to say, whatever it is.
_ENDS = ("task-succeeded", "task-failed", "task-retried")


class Watch:
    """Collects events. Owns a thread and a connection."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._ready = threading.Event()
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._capture, name="watch", daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def events(self, task_id: str) -> list[dict[str, Any]]:
        """Return the events of one call in the order in which they came."""
        return list(self._events[task_id])

    def family(self, sent: Iterable[str]) -> list[str]:
        """Return the ids of these calls and of every call that came of them."""
        family = dict.fromkeys(sent)
        while True:
            born = [each for each, events in list(self._events.items()) if _came_of(events, family)]
            grown = family | dict.fromkeys(born)
            if len(grown) == len(family):
                return list(family)
            family = grown

    def count(self, task_id: str, *types: str) -> int:
        """Return how many events of these types the call has had."""
        return sum(event["type"] in types for event in list(self._events[task_id]))

    def put_back(self, task_id: str) -> int:
        """Return how many times the call's message was rejected, to come again."""
        events = self.events(task_id)
        return sum(event["type"] == "task-rejected" and event["requeue"] for event in events)

    def received(self, name: str) -> list[str]:
        """Return the arguments of every call of this task that the worker has received."""
        events = [event for each in list(self._events.values()) for event in list(each)]
        return [
            event["args"] for event in events if event["type"] == "task-received" and event["name"] == name
        ]

    def ended(self, task_id: str) -> int:
        """Return how many times the call came to an end that an event tells."""
        return self.count(task_id, *_ENDS)

    def catch_up(self) -> None:
        """Wait until every event has come that was sent before now."""
        mark = uuid()
        with self._app.events.default_dispatcher() as dispatcher:
            dispatcher.send("conformance-mark", uuid=mark)
        wait_for(lambda: self._events[mark], what="events come")

    def stop(self) -> None:
        """End the thread; its connection goes with it."""
        self._receiver.should_stop = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _capture(self) -> None:
        with self._app.connection_for_read() as connection:
            self._receiver = self._app.events.Receiver(connection, handlers={"*": self._on_event})
            self._receiver.capture(limit=None, timeout=None, wakeup=True)

    def _on_event(self, event: dict[str, Any]) -> None:
        if "uuid" in event:
            self._events[event["uuid"]].append(event)
        self._ready.set()


def _came_of(events: list[dict[str, Any]], family: Iterable[str]) -> bool:
    return any(event.get(kin) in family for event in list(events) for kin in ("parent_id", "root_id"))


def wait_for_the_end(
    watch: Watch,
    sent: list[str],
    published: Callable[[str], int],
    ended_silently: Callable[[str], int],
) -> list[str]:
    """Wait until every call that came of ``sent`` has ended as often as it was sent; returns them all.

    Args:
        watch: what collects the events.
        sent: the id of each message that the scenario sent.
        published: how often a call was published so far, by its id.
        ended_silently: how often a call ended in a way that no event tells, by its id.
    """
    missing: list[str] = []

    def all_ended() -> bool:
        missing.clear()
        for each in watch.family(sent):
            ended, begun = watch.ended(each) + ended_silently(each), published(each)
            if not begun <= min(ended, watch.count(each, "task-sent")):
                missing.append(f"{each}: {[event['type'] for event in watch.events(each)]}")
        return not missing

    def nothing_new() -> bool:
        """What an ended call has sent may be on its way to us still: what comes after it is not."""
        before = watch.family(sent)
        watch.catch_up()
        return watch.family(sent) == before and all_ended()

    try:
        wait_for(lambda: all_ended() and nothing_new())
    except AssertionError:
        raise AssertionError(f"These calls have not ended within {PATIENCE} s: {missing}") from None
    return watch.family(sent)
