"""When schedules are due: beside an oracle that looks at every minute, on the days on which clocks are changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedstate, schedule, solar

from autocelery._beat.from_settings import read, spec_of
from autocelery._beat.kinds import Ticks, ticks_of
from autocelery._beat.users_classes import Polled
from autocelery.beat import Once, TimeOfDay
from autocelery.errors import EntryInvalid
from tests import calendars

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
#: Days around changes of a clock that are looked at here; tests/stress looks at all of ten years.
SAMPLED = 5


def ticks(told: object, zone: str = "UTC", anchor: datetime = BEGIN) -> Ticks:
    made = ticks_of(spec_of(told), ZoneInfo(zone), anchor)
    assert isinstance(made, Ticks)
    return made


def between(schedule: Ticks, begin: datetime, end: datetime) -> Iterator[datetime]:
    tick = schedule.after(begin - timedelta(microseconds=1))
    while tick is not None and tick < end:
        yield tick
        tick = schedule.after(tick)


@pytest.mark.parametrize("zone", calendars.ZONES)
def test_crontabs_are_due_as_an_oracle_says_around_changes_of_the_clock(zone: str) -> None:
    changes = calendars.changes(zone)
    windows = changes[:: max(1, len(changes) // SAMPLED)] or [BEGIN]
    for cron in calendars.CRONS:
        tested = ticks(crontab(*cron.fields[:2], cron.fields[4], *cron.fields[2:4]), zone)
        for change in windows:
            begin, end = change - timedelta(hours=20), change + timedelta(hours=30)
            assert list(between(tested, begin, end)) == calendars.due(cron, zone, begin, end), (cron, change)


@pytest.mark.parametrize(
    ("told", "day", "expected"),
    [
        (crontab("30", "2"), "2026-03-29", ["03:00+02:00"]),
        (crontab("30", "2"), "2026-10-25", ["02:30+02:00"]),
        (crontab("0", "*/2"), "2026-10-25", [f"{h:02}:00+0{2 if h < 3 else 1}:00" for h in range(0, 24, 2)]),
        (TimeOfDay("02:15"), "2026-03-29", ["03:00+02:00"]),
        (crontab("0"), "2026-10-25", 25),
        (crontab("0"), "2026-03-29", 23),
        (schedule(3600), "2026-10-25", 25),
    ],
)
def test_the_days_on_which_madrid_changes_its_clocks(
    told: object, day: str, expected: list[str] | int
) -> None:
    zone = ZoneInfo("Europe/Madrid")
    begin = datetime.fromisoformat(day).replace(tzinfo=zone)
    found = list(between(ticks(told, zone.key), begin, begin + timedelta(days=1)))
    if isinstance(expected, int):
        assert len(found) == expected
    else:
        assert [shown(each.astimezone(zone)) for each in found] == expected


def shown(moment: datetime) -> str:
    """Return the time of day and the offset."""
    return moment.isoformat()[11:16] + moment.isoformat()[19:]


def test_an_interval_counts_elapsed_time_over_ten_years_in_every_zone() -> None:
    for zone in calendars.ZONES:
        tested = ticks(schedule(86_400 * 7 + 11), zone)
        found = list(between(tested, calendars.BEGIN, calendars.END))
        assert {(b - a).total_seconds() for a, b in itertools.pairwise(found)} == {86_400 * 7 + 11}


def test_a_moment_is_due_once() -> None:
    tested = ticks(Once("2026-03-29T02:30"), "Europe/Madrid")
    found = list(between(tested, BEGIN, BEGIN + timedelta(days=3650)))
    assert found == [datetime(2026, 3, 29, 1, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(40.4, -3.7), (-33.9, 151.2), (0.0, 179.9), (35.7, 90.0)]
)
def test_the_sun_rises_once_a_day_and_when_the_equation_of_time_says(
    latitude: float, longitude: float
) -> None:
    tested = ticks(solar("sunrise", latitude, longitude))
    found = list(between(tested, BEGIN, BEGIN + timedelta(days=365)))
    apart = [(after - before).total_seconds() for before, after in itertools.pairwise(found)]
    assert 364 <= len(found) <= 366
    assert all(86_400 - 300 < each < 86_400 + 300 for each in apart)
    off = [abs((each - sunrise(each, latitude, longitude)).total_seconds()) for each in found]
    assert max(off) < 180


def sunrise(near: datetime, latitude: float, longitude: float) -> datetime:
    """The low-accuracy formula of NOAA's solar calculation details (gml.noaa.gov/grad/solcalc/solareqns.PDF)."""
    noon = (near + timedelta(hours=6)).replace(tzinfo=UTC)
    angle = 2 * math.pi / 365 * (noon.timetuple().tm_yday - 1 + (noon.hour - 12) / 24)
    equation = 229.18 * (
        0.000075
        + 0.001868 * math.cos(angle)
        - 0.032077 * math.sin(angle)
        - 0.014615 * math.cos(2 * angle)
        - 0.040849 * math.sin(2 * angle)
    )
    declination = (
        0.006918
        - 0.399912 * math.cos(angle)
        + 0.070257 * math.sin(angle)
        - 0.006758 * math.cos(2 * angle)
        + 0.000907 * math.sin(2 * angle)
        - 0.002697 * math.cos(3 * angle)
        + 0.00148 * math.sin(3 * angle)
    )
    north = math.radians(latitude)
    hour = math.degrees(
        math.acos(
            math.cos(math.radians(90.833)) / (math.cos(north) * math.cos(declination))
            - math.tan(north) * math.tan(declination)
        )
    )
    minutes = 720 - 4 * (longitude + hour) - equation
    candidates = [
        datetime(near.year, near.month, near.day, tzinfo=UTC) + timedelta(days=day, minutes=minutes)
        for day in (-1, 0, 1)
    ]
    return min(candidates, key=lambda each: abs(each - near))


def test_where_the_sun_does_not_rise_for_weeks_the_next_sunrise_is_found() -> None:
    tested = ticks(solar("sunrise", 78.2, 15.6))
    found = tested.after(datetime(2026, 11, 20, tzinfo=UTC))
    assert found is not None
    assert datetime(2027, 2, 10, tzinfo=UTC) < found < datetime(2027, 2, 25, tzinfo=UTC)


class Odd(BaseSchedule):
    """A schedule of a user's."""

    def __init__(self, every: int, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.every = every

    def is_due(self, last_run_at: datetime) -> tuple[bool, datetime]:
        left = self.every - (self.now() - last_run_at).total_seconds()
        return schedstate(left <= 0, self.every if left <= 0 else left)

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return self.__class__, (self.every,)


def test_a_users_class_is_stored_by_its_path_and_asked_by_the_time_it_is_given() -> None:
    spec = spec_of(Odd(7))
    assert spec["arguments"] == [7]
    asked = Polled(Odd(spec["arguments"][0]))
    assert asked.ask(BEGIN, BEGIN + timedelta(seconds=3)) == (False, 4.0)
    assert asked.ask(BEGIN, BEGIN + timedelta(seconds=7)) == (True, 7.0)


def test_what_is_no_schedule_is_not_even_called(tmp_path: Path) -> None:
    spec = {"kind": "class", "path": "os:mkdir", "arguments": [str(tmp_path / "made")]}
    with pytest.raises(EntryInvalid, match="os:mkdir is no schedule"):
        ticks_of(spec, ZoneInfo("UTC"), datetime.now(UTC))
    assert not (tmp_path / "made").exists()


def test_a_class_of_celerys_that_is_no_kind_of_its_own_is_made_again_from_what_is_stored() -> None:
    spec = spec_of(schedule(60, relative=True))
    made = ticks_of(spec, ZoneInfo("UTC"), BEGIN)
    assert isinstance(made, Polled)
    assert made.ask(BEGIN, BEGIN + timedelta(seconds=90))[0]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (0, "due all the time"),
        (-3, "due all the time"),
        (0.2, "due all the time"),
        (None, "its schedule is None"),
        ("* * * * *", "its schedule is a str"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(told: object, says: str) -> None:
    with pytest.raises(EntryInvalid, match=says):
        ticks(told)


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "crontab", "second": "*"},
        {"kind": "crontab", "minute": "61"},
        {"kind": "crontab", "day_of_month": "31", "month_of_year": "2"},
        {"kind": "time of day", "at": "25:00"},
        {"kind": "interval"},
        {"kind": "class", "path": "nowhere:Thing", "arguments": []},
        {"kind": "class", "path": "builtins:dict", "arguments": []},
        {"kind": "moon"},
        {"kind": "solar", "event": "eclipse", "lat": 0, "lon": 0},
        {"kind": "once", "at": "tomorrow"},
        {},
    ],
)
def test_what_is_stored_and_no_schedule_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(EntryInvalid):
        ticks_of(spec, ZoneInfo("UTC"), BEGIN)


def test_of_entries_with_one_key_none_is_sent_and_the_others_are() -> None:
    app = Celery(set_as_current=False)
    told = {"task": "add", "schedule": 60}
    app.conf.beat_schedule = {7: told, "7": {**told, "schedule": 61}, "other": told}
    settings = read(app)
    assert "7" not in settings.definitions
    assert "2 entries have this key" in settings.problems["7"]
    assert "other" in settings.definitions
