"""Time that a test moves: for ETAs, countdowns, retries and expiries."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from celery import Celery
from celery.utils.timer2 import Timer

from autocelery._eager.line import Clock
from autocelery.errors import ConfigurationError


class Time:
    """The time by which calls of ``app`` are due: it stands still until it is moved.

    For an app that is eager, or has a worker of `memory_worker`. Python's own
    clocks go on; `now` is what to give to code that asks for a clock.

    Args:
        app: the app.
        at: when it is, with a time zone; by default now.
    """

    def __init__(self, app: Celery, at: datetime | None = None) -> None:
        self._app = app
        self.clock = _clock_of(app)
        self.clock.hold(at)

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self.clock.now()

    def move(self, **by: float) -> None:
        """Move time forward, as ``move(minutes=5)``, and run what becomes due, each call at its own time.

        Args:
            **by: what `datetime.timedelta` takes.
        """
        step = timedelta(**by)
        if step < timedelta(0):
            raise ConfigurationError("Time moves forward only. Begin earlier: Time(app, at=...).")
        eager = getattr(self._app, "autocelery_eager", None)
        if eager is not None:
            eager.move(step)
            return
        self.clock.move(step)
        for each in list(getattr(self._app, "autocelery_timers", ())):
            each.fire()

    def move_to(self, moment: datetime) -> None:
        """Move time forward to ``moment``, which has a time zone."""
        self.move(seconds=(moment - self.now()).total_seconds())

    def release(self) -> None:
        """Let time go on."""
        self.clock.release()


def _clock_of(app: Celery) -> Clock:
    if not hasattr(app, "autocelery_clock"):
        app.autocelery_clock = Clock()
    return app.autocelery_clock  # type: ignore[no-any-return]


def timer_for(app: Celery) -> type[Timer]:
    """Return the class of a worker's timer that keeps calls with an ETA until the time of ``app`` has come."""
    clock = _clock_of(app)

    class MovedTimer(Timer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._held: list[tuple[datetime, Callable[..., Any], Any]] = []
            self._lock = threading.Lock()
            app.autocelery_timers = [*getattr(app, "autocelery_timers", ()), self]

        def call_at(self, eta: float, fun: Callable[..., Any], args: Any = (), **kwargs: Any) -> Any:
            if not clock.is_held:
                return super().call_at(eta, fun, args, **kwargs)
            with self._lock:
                # What a worker calls at a time are requests; ``eta`` counts from when the machine was started.
                self._held.append((args[0].eta, fun, args))
            self.fire()
            return self.Entry(fun, args)

        def fire(self) -> None:
            """Hand over what has become due, in order."""
            with self._lock:
                now = clock.now()
                due = sorted((each for each in self._held if each[0] <= now), key=lambda each: each[0])
                self._held = [each for each in self._held if each[0] > now]
            for _, fun, args in due:
                self.call_after(0, fun, args)

        def stop(self) -> None:
            app.autocelery_timers = [each for each in app.autocelery_timers if each is not self]
            super().stop()

    return MovedTimer
