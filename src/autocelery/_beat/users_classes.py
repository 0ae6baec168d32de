"""Schedules of classes that a user wrote: Celery asks them again and again whether they are due, and so does this."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import BaseSchedule

from autocelery.errors import EntryInvalid

#: A class that is due all the time is asked, and so sent, no more often than this, in seconds.
SHORTEST_WAIT = 1.0
#: One that does not say when to ask again is asked after so many seconds.
LONGEST_WAIT = 300.0


@dataclass(frozen=True, slots=True)
class Polled:
    """A schedule that is asked whether it is due: a function of when it was last, and of now."""

    schedule: BaseSchedule

    def ask(self, last: datetime, now: datetime) -> tuple[bool, float]:
        """Return whether it is due, and after how many seconds to ask again.

        Raises:
            EntryInvalid: the class raised.
        """
        asked = copy.copy(self.schedule)
        asked.nowfun = lambda: now
        try:
            is_due, wait = asked.is_due(last)
            seconds = LONGEST_WAIT if wait is None else float(wait)
        except Exception as error:
            kind = type(self.schedule).__qualname__
            raise EntryInvalid(f"{kind}.is_due raised {type(error).__name__}: {error}") from error
        return bool(is_due), min(max(seconds, SHORTEST_WAIT), LONGEST_WAIT)


def polled(spec: Mapping[str, Any], _zone: ZoneInfo) -> Polled:
    """Return the schedule of a class and the arguments that are stored.

    Raises:
        EntryInvalid: there is no such class, it is no schedule, or it takes other arguments.
    """
    if "arguments" not in spec:
        raise EntryInvalid(
            f"a {spec['path']} cannot be stored as JSON (its __reduce__ gives {spec.get('why', 'no JSON')}), and this "
            "process does not have it in beat_schedule"
        )
    module, _, name = spec["path"].partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        if not (isinstance(found, type) and issubclass(found, BaseSchedule)):  # before it is called
            raise EntryInvalid(
                f"{spec['path']} is no schedule: it does not derive from celery.schedules.BaseSchedule"
            )
        made = found(*spec["arguments"])
    except EntryInvalid:
        raise
    except Exception as error:
        raise EntryInvalid(f"{spec['path']} cannot be made: {type(error).__name__}: {error}") from error
    return Polled(made)
