"""When the sun rises, sets, or is somewhere in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.exceptions import ImproperlyConfigured
from celery.schedules import solar

from autocelery.errors import EntryInvalid

#: Two events of one kind are never so close; so each belongs to one such window, and is found from its beginning only.
#: From another moment the same event may come out as a second earlier or later, and be taken for another one.
_WINDOW = timedelta(hours=12)
#: Beyond the polar circles an event may not take place for half a year.
_WINDOWS = 2 * 400


@dataclass(frozen=True, slots=True)
class SolarTicks:
    """An event of the sun (``sunrise``, ``solar_noon``, ``dusk_civil``, ...) at a latitude and longitude in degrees.

    Raises:
        EntryInvalid: there is no such event or place, or ephem is not installed.
    """

    event: str
    latitude: float
    longitude: float
    _solar: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            made = solar(self.event, self.latitude, self.longitude)
        except ImproperlyConfigured:
            raise EntryInvalid("solar schedules need ephem; run: pip install 'autocelery[solar]'") from None
        object.__setattr__(self, "_solar", made)

    def after(self, moment: datetime) -> datetime | None:
        """Return the first event after ``moment``, to the second."""
        window = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for _ in range(_WINDOWS):
            found = self._in_window(window)
            if found is not None and found > moment:
                return found
            window += _WINDOW
        return None

    def _in_window(self, begin: datetime) -> datetime | None:
        import ephem

        observer = self._solar.cal
        observer.date = begin.replace(tzinfo=None)
        options = {"use_center": True} if self._solar.use_center else {}
        try:
            found = getattr(observer, self._solar.method)(ephem.Sun(), start=observer.date, **options)
        except ephem.CircumpolarError:
            return None
        event = found.datetime().replace(tzinfo=UTC, microsecond=0)
        return event if begin <= event < begin + _WINDOW else None
