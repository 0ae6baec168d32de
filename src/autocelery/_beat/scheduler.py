"""The scheduler as Celery runs it: ``celery beat -S autocelery.beat:DatabaseScheduler``, or ``celery worker -B``."""

from __future__ import annotations

import logging
from typing import Any

from celery import beat

from autocelery._beat.beating import LONGEST_PAUSE, Beating
from autocelery._beat.from_settings import Settings, read
from autocelery._beat.opening import open_store
from autocelery._beat.planning import Planner
from autocelery._beat.sender import Broker, Sender
from autocelery._beat.store import BeatStore
from autocelery._beat.syncing import rule_of, sync
from autocelery._beat.tenure import Tenure
from autocelery._beat.wording import doubts
from autocelery.errors import BeatDatabaseNotReady, BeatDatabaseUnavailable

logger = logging.getLogger(__name__)

#: Seconds between tries where the database does not answer.
RETRY_SECONDS = 2.0


class DatabaseScheduler(beat.Scheduler):
    """A scheduler with its schedule in a database, of which any number may run; each tick is sent once.

    It owns its connections to database and broker, which `close` closes.

    Raises:
        BeatNotConfigured: ``beat_database_url`` or ``beat_sync`` is missing or wrong.
        BeatDatabaseNotReady: the tables cannot be made, or are of another version.
    """

    #: Whether the settings were brought into the database.
    _is_synced = False
    _is_beating = False

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        self._store = open_store(app)
        self._rule = rule_of(app.conf.get("beat_sync"))
        super().__init__(app, *args, lazy=lazy, **kwargs)
        self.max_interval: float = min(self.max_interval, LONGEST_PAUSE)

    def setup_schedule(self) -> None:
        """Read the settings, say what is wrong with them, and prepare the database if it answers."""
        self._settings = read(self.app)
        _complain(self.app, self._settings)
        self._broker = Broker(self.app)
        self._tenure = self.make_tenure(self._store)
        sender = Sender(self.app, self._store, self._tenure, self._broker)
        self._beating = Beating(
            self.app, self._store, Planner(self._settings.schedules), self._tenure, sender
        )
        try:
            self._synchronize()
        except BeatDatabaseUnavailable as error:
            logger.error("%s Trying again.", error.message)

    def make_tenure(self, store: BeatStore) -> Tenure:
        """Return this instance's part in the lease."""
        return Tenure(store)

    def tick(self, *_args: Any, **_kwargs: Any) -> float:
        """Do what is to be done now, and return for how many seconds there is nothing."""
        self._is_beating = True
        try:
            if not self._is_synced:
                self._synchronize()
            return self._beating.beat()
        except BeatDatabaseUnavailable as error:
            logger.error("%s Trying again.", error.message)
            return RETRY_SECONDS
        except BeatDatabaseNotReady as error:
            if not self._is_synced:
                raise
            logger.warning("beat: %s What the settings say is brought in again.", error.message)
            self._is_synced = False  # emptied under a beat that runs, as `manage.py flush` does
            return 0.0
        finally:
            self._is_beating = False

    def close(self) -> None:
        """Let others have the lease, and close the connections.

        Celery calls it from a handler of signals too: what is in the middle of a transaction then ends it first, and
        Celery calls this again.
        """
        if self._is_beating or not hasattr(self, "_beating"):
            return
        try:
            self._beating.stop()
        except BeatDatabaseUnavailable as error:
            logger.warning("%s Others take over when the lease ends.", error.message)
        self._broker.drop()
        self._store.close()

    @property
    def schedule(self) -> dict[str, Any]:
        """Nothing: entries are in the database, and not in memory."""
        return {}

    @schedule.setter
    def schedule(self, _told: object) -> None:
        """Nothing, as above."""

    @property
    def info(self) -> str:
        """Where the schedule is, for the banner."""
        return f"    . db -> {self._store.url}"

    def _synchronize(self) -> None:
        self._store.prepare()
        sync(self._store, self._settings, self._rule)
        self._is_synced = True


def _complain(app: Any, settings: Settings) -> None:
    """Say of each entry of the settings what is wrong with it; none keeps the others from being sent."""
    for key, why in settings.problems.items():
        logger.error("beat: entry %r of beat_schedule is not sent: %s.", key, why)
    for key, definition in settings.definitions.items():
        for doubt in doubts(app, definition):
            logger.warning("beat: entry %r: %s", key, doubt)
