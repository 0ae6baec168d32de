"""Holding the lease: who sends, until when, and how somebody else comes to."""

from __future__ import annotations

import logging
import os
import secrets
import time
from datetime import datetime

from autocelery._beat.store import BeatStore, Lease

logger = logging.getLogger(__name__)

#: How long, in seconds, a holder that gives no sign of life keeps the lease.
LEASE_SECONDS = 10.0
#: The part of it that is left when the holder sends nothing any more, and that others wait longer: clocks differ.
_MARGIN = 0.1


class Tenure:
    """This instance's part in the lease.

    Time is measured by this machine's clock since boot, which nobody sets, and which goes on while the process is
    frozen or the machine sleeps. The database's clock only helps a new instance to see that a lease is old.

    Args:
        store: the database.
        seconds: the length of a lease.
    """

    def __init__(self, store: BeatStore, seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self._seconds = seconds
        self._holder = f"{os.uname().nodename}:{os.getpid()}:{secrets.token_hex(4)}"
        self._seen: Lease | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._taken_at = 0.0
        self.token: int | None = None

    @property
    def is_sure(self) -> bool:
        """Whether this instance holds the lease, whatever happened since it last asked."""
        return self.token is not None and elapsed() < self._renewed_at + self._seconds * (1 - _MARGIN)

    @property
    def is_alone(self) -> bool:
        """Whether the holder before this one has certainly stopped sending, wherever it was frozen."""
        return self.token is not None and elapsed() > self._taken_at + self._seconds * (1 + _MARGIN)

    @property
    def others(self) -> str | None:
        """Who holds it, if it is another."""
        return self._seen.holder if self._seen and self.token is None else None

    def hold(self) -> bool:
        """Take or keep the lease; whether this instance has it."""
        if self.token is None:
            return self._try_to_take()
        if elapsed() < self._renewed_at + self._seconds / 4:
            return True
        return self.renew()

    def renew(self) -> bool:
        """Keep the lease; whether it is still this instance's."""
        asked_at = elapsed()
        if self.token is not None and self._store.renew(self.token, self._seconds):
            self._renewed_at = asked_at
            return True
        self.lost()
        return False

    def lost(self) -> None:
        """Know that another has it."""
        if self.token is not None:
            logger.warning("beat: another instance has taken over; this one stands by.")
        self.token, self._seen = None, None

    def release(self) -> None:
        """Let others have it at once."""
        token, self.token = self.token, None
        if token is not None:
            self._store.release(token)

    def _try_to_take(self) -> bool:
        now, lease = self._store.lease()
        if not self._is_free(lease, now):
            return False
        asked_at = elapsed()
        self.token = self._store.take(lease, self._holder, self._seconds)
        if self.token is None:
            return False
        self._renewed_at = self._taken_at = asked_at
        if lease.holder is None:  # it was let go of, or never taken: nobody is in the middle of anything
            self._taken_at = float("-inf")
        logger.info("beat: this instance sends now (token %d).", self.token)
        return True

    def _is_free(self, lease: Lease, now: datetime) -> bool:
        if lease.holder is None or lease.expires <= now:
            return True
        if self._seen is None or (self._seen.token, self._seen.renewals) != (lease.token, lease.renewals):
            self._seen, self._seen_at = lease, elapsed()
            return False
        # A clock of the database that was put back would keep a dead holder's lease alive for as long.
        return elapsed() > self._seen_at + self._seconds * (1 + _MARGIN)


def elapsed() -> float:
    """Return seconds since some moment, by a clock that nobody sets and that does not stop."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
