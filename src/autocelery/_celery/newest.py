"""A worker in development: a plain call runs the newest version that loads, as a live call of it would.

The name of that version is in a file, which whoever watches the working tree
replaces. The worker looks at it, tries the version in a host, and turns each
plain message that comes from then on into a live call of it. A version that
does not load is told in the log, and the one before it goes on. The queues that
the project's table got with it are listened to from then on.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, bootsteps, signals
from celery.worker.consumer import Tasks

from autocelery._celery import routing, serving
from autocelery.errors import AutoceleryError, UpInvalid
from autocelery_host.header import BUILT_IN, HEADER, LIVE_TASK, Target, header_for

logger = logging.getLogger(__name__)

#: Seconds between two looks at the file.
_POLL_SECONDS = 0.05


def name_newest(place: Path, target: Target) -> None:
    """Name the newest version in the file ``place``, at once for whoever reads it."""
    new = place.with_suffix(".new")
    new.write_text(json.dumps(target))
    new.replace(place)


def follow(app: Celery, place: Path, taken_up: Callable[[], object]) -> None:
    """Have the workers of ``app`` in this process run the newest version that is named in the file ``place``.

    Args:
        app: the project's.
        place: of the file.
        taken_up: is called, in a thread of its own, when another version than the first has loaded.
    """
    newest = Newest(place, taken_up)

    class Follow(bootsteps.StartStopStep):
        requires = (Tasks,)
        label = "Newest version"

        def start(self, consumer: Any) -> None:
            consumer.strategies = Strategies(consumer.strategies, app, newest)
            newest.consumer = consumer

    app.steps["consumer"].add(Follow)
    signals.worker_ready.connect(lambda **_: newest.start(), weak=False)


class Newest:
    """The newest version that loads. Owns a thread, which ends with the process.

    Args:
        place: the file that names the newest there is.
        taken_up: is called, in a thread of its own, when another version than the first has loaded.
    """

    def __init__(self, place: Path, taken_up: Callable[[], object]) -> None:
        self.target: Target | None = None
        self.consumer: Any = None
        self._place = place
        self._taken_up = taken_up
        self._seen = ""

    def start(self) -> None:
        """Follow the file from now on."""
        threading.Thread(target=self._follow, name="autocelery-newest", daemon=True).start()

    def _follow(self) -> None:
        stop = threading.Event()
        while True:
            self.look()
            stop.wait(_POLL_SECONDS)

    def look(self) -> None:
        """Take up the version that the file names, if it is another one and loads."""
        try:
            told = self._place.read_text()
        except OSError:  # none was made yet
            return
        if told == self._seen:
            return
        self._seen = told
        target = Target(*json.loads(told))
        try:
            serving.hosts().checkout(*target).close()
        except AutoceleryError as error:
            going_on = self.target.snapshot[:12] if self.target else "what the worker imported"
            logger.error(
                "Version %s does not load (%s): %s goes on.",
                target.snapshot[:12],
                type(error).__name__,
                going_on,
            )
            return  # the agent has logged why
        before, self.target = self.target, target
        logger.warning("Version %s runs from now on.", target.snapshot[:12])
        if before is not None:
            self._listen()
            threading.Thread(target=self._taken_up, name="autocelery-taken-up", daemon=True).start()

    def _listen(self) -> None:
        try:
            routing.listen_to_new(self.consumer)
        except UpInvalid as error:  # it was saved again since
            logger.error("The worker listens to no new queue: %s", error.message)


class Strategies(dict[str, Callable[..., Any]]):
    """What a worker does with a message, by its task's name: a plain call of the project's becomes a live one.

    Also one of a task that the worker did not import: the newest version may have it.
    """

    def __init__(self, given: dict[str, Callable[..., Any]], app: Celery, newest: Newest) -> None:
        super().__init__(given)
        self._app = app
        self._newest = newest

    def __getitem__(self, name: str) -> Callable[..., Any]:
        target = self._newest.target
        if target is None or name.startswith(BUILT_IN):
            return super().__getitem__(name)
        run_live = super().__getitem__(LIVE_TASK)

        def run(message: Any, *args: Any, **options: Any) -> Any:
            given = message.headers
            message.headers = {
                **given,
                "task": LIVE_TASK,
                "shadow": given.get("shadow") or name,
                HEADER: header_for(self._app, name, target),
            }
            return run_live(message, *args, **options)

        return run
