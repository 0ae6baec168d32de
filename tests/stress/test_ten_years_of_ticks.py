"""Every crontab of the calendar in ten zones over ten years, tick by tick, beside the oracle."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab

from autocelery._beat.from_settings import spec_of
from autocelery._beat.kinds import Ticks, ticks_of
from tests import calendars

pytestmark = pytest.mark.stress


@pytest.mark.parametrize("zone", calendars.ZONES)
def test_ten_years_of_every_crontab_are_those_of_the_oracle(zone: str) -> None:
    for cron in calendars.CRONS:
        told = spec_of(crontab(*cron.fields[:2], cron.fields[4], *cron.fields[2:4]))
        ticks = ticks_of(told, ZoneInfo(zone), calendars.BEGIN)
        assert isinstance(ticks, Ticks)
        expected = calendars.due(cron, zone, calendars.BEGIN, calendars.END)
        found = []
        tick = ticks.after(calendars.BEGIN - timedelta(microseconds=1))
        while tick is not None and tick < calendars.END:
            found.append(tick)
            tick = ticks.after(tick)
        assert found == expected, (zone, cron)
