"""Moving over from django-celery-beat and redbeat: the real ones make the entries, and are not needed to read them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.schedules import crontab
from sqlalchemy import create_engine, text

from autocelery._beat import editing
from autocelery._beat.from_settings import Settings
from autocelery._beat.importing import bringing, django_celery_beat, redbeat
from autocelery._beat.importing.bringing import Importer, Outcome
from autocelery._beat.importing.found import DJANGO, REDBEAT, Found
from autocelery._beat.sql_store import SqlBeatStore
from autocelery._beat.store import BeatStore
from autocelery.errors import BeatSourceUnavailable
from tests import beats

pytestmark = pytest.mark.slow

PROJECTS = Path(__file__).parent.parent / "projects" / "imports"
NOTHING = Settings({}, {}, {})
MADRID = "Europe/Madrid"


def run(script: str, code: str, **environment: str) -> str:
    """Run ``code`` in a project of another scheduler and return what it prints last."""
    done = subprocess.run(
        [sys.executable, str(PROJECTS / script)],
        input=code,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return (done.stdout.splitlines() or [""])[-1]


@dataclass
class Django:
    """A Django project with django-celery-beat, and a schedule to import its tasks into."""

    url: str
    store: BeatStore
    due: dict[str, Any] = field(default_factory=dict)

    def make(self, code: str) -> None:
        """Run code with the project's models; ``due`` is then when django-celery-beat would send each."""
        self.due = json.loads(run("in_django.py", code, DJANGO_DATABASE=self.url))

    def execute(self, *statements: str) -> None:
        """Write to its tables as its models would not."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            for each in statements:
                connection.execute(text(each))
        engine.dispose()

    def found(self) -> list[Found]:
        """Return what is read."""
        return django_celery_beat.read(self.url, MADRID, UTC)

    def bring(self, settings: Settings = NOTHING, is_dry: bool = False) -> dict[str, Outcome]:
        """Import, and return what became of each entry."""
        done = Importer(self.store, DJANGO, settings, is_dry).bring(self.found())
        return {each.key: each for each in done}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BeatStore]:
    with closing(SqlBeatStore(f"sqlite:///{tmp_path}/schedule.sqlite")) as made:
        yield made


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def there(request: pytest.FixtureRequest, store: BeatStore, tmp_path: Path) -> Django:
    if request.param == "sqlite":
        return Django(f"sqlite:///{tmp_path}/django.sqlite", store)
    return Django(request.getfixturevalue(f"{request.param.removesuffix('ql')}_database"), store)


KINDS = """
hour_ago, tomorrow = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(days=1)
madrid = dict(hour="2", minute="30", timezone="Europe/Madrid")
PeriodicTask.objects.create(
    name="interval", task="add", args='[1, "é"]', kwargs='{"a": 1}', queue="q", priority=3, expire_seconds=60,
    headers='{"h": 1}', interval=IntervalSchedule.objects.create(every=3, period="hours"), last_run_at=hour_ago,
    total_run_count=7,
)
PeriodicTask.objects.create(name="night", task="add", crontab=CrontabSchedule.objects.create(**madrid))
PeriodicTask.objects.create(
    name="hourly", task="add", crontab=CrontabSchedule.objects.create(minute="7", timezone="America/New_York"),
    description="why", last_run_at=datetime.now(UTC) - timedelta(seconds=30),
)
PeriodicTask.objects.create(
    name="kathmandu", task="add", crontab=CrontabSchedule.objects.create(minute="*/5", timezone="Asia/Kathmandu"),
)
PeriodicTask.objects.create(
    name="sun", task="add",
    solar=SolarSchedule.objects.create(event="sunset", latitude="40.4168", longitude="-3.7038"),
)
PeriodicTask.objects.create(
    name="once", task="add", one_off=True, clocked=ClockedSchedule.objects.create(clocked_time=tomorrow),
)
PeriodicTask.objects.create(
    name="was once", task="add", one_off=True, total_run_count=1, last_run_at=hour_ago,
    clocked=ClockedSchedule.objects.create(clocked_time=hour_ago),
)
PeriodicTask.objects.create(
    name="off", task="add", enabled=False, interval=IntervalSchedule.objects.first(),
)
PeriodicTask.objects.create(
    name="later", task="add", crontab=CrontabSchedule.objects.first(), start_time=tomorrow,
    expires=tomorrow + timedelta(days=9),
)
PeriodicTask.objects.create(
    name="forgotten", task="add", one_off=True, clocked=ClockedSchedule.objects.first(),
)
"""


def test_every_kind_of_periodic_task_is_due_when_it_was(there: Django) -> None:
    there.make(KINDS)
    outcomes = there.bring()
    assert {each.result for each in outcomes.values()} == {bringing.IMPORTED}
    entries = {each.key: each for each in there.store.entries()}
    told = {key: json.loads(each.definition) for key, each in entries.items()}
    interval = told["interval"]
    assert (interval["args"], interval["kwargs"]) == ([1, "é"], {"a": 1})
    assert interval["options"] == {
        "queue": "q",
        "priority": 3,
        "expires": 60,
        "headers": {"h": 1, "periodic_task_name": "interval"},
    }
    assert (entries["interval"].runs, told["once"]["max_runs"], told["off"]["enabled"]) == (7, 1, False)
    assert told["night"]["timezone"] == MADRID
    for key in ("interval", "hourly", "kathmandu", "once"):
        is_due, moment = there.due[key]
        theirs, ours = datetime.fromisoformat(moment), entries[key].next_tick
        assert ours is not None, key
        was_sent_meanwhile = is_due or theirs <= datetime.now(UTC)
        assert was_sent_meanwhile or abs(theirs - ours) < timedelta(seconds=3), key
    assert [key for key, each in entries.items() if each.next_tick is None] == [
        "forgotten",
        "off",
        "was once",
    ]
    starts, ends = (datetime.fromisoformat(told["later"][name]) for name in ("starts", "ends"))
    later = entries["later"].next_tick
    assert later is not None
    assert starts <= later <= starts + timedelta(days=1, hours=1)
    assert ends - starts == timedelta(days=9)


def test_what_means_something_else_is_said_and_nothing_more(there: Django) -> None:
    there.make(KINDS)
    notes = {key: " / ".join(each.notes) for key, each in there.bring().items()}
    assert "the first time only" in notes["night"]
    assert "every hour that passes" in notes["hourly"]
    assert "its description stays behind" in notes["hourly"]
    assert "from its start on; there it was sent at the start" in notes["later"]
    assert "not made up for, and there is no other" in notes["forgotten"]
    assert [key for key, told in notes.items() if not told] == [
        "interval",
        "kathmandu",
        "off",
        "once",
        "sun",
        "was once",
    ]


def test_it_may_be_run_again(there: Django) -> None:
    there.make(KINDS)
    assert {each.result for each in there.bring(is_dry=True).values()} == {bringing.IMPORTED}
    there.store.prepare()
    assert there.store.entries() == []
    there.bring()
    first = there.store.entries()
    assert {each.result for each in there.bring().values()} == {bringing.THERE}
    assert there.store.entries() == first
    editing.edit(there.store, "night", {"schedule": "0 4 * * *"}, MADRID)
    there.make(
        "PeriodicTask.objects.filter(name__in=['interval', 'night']).update(task='other')\n"
        "PeriodicTask.objects.filter(name='off').delete()"
    )
    again = there.bring()
    assert (again["interval"].result, again["night"].result) == (bringing.UPDATED, bringing.KEPT)
    assert "changed there too" in again["night"].why
    assert again["off"].result == bringing.GONE
    entries = {each.key: json.loads(each.definition) for each in there.store.entries()}
    assert (entries["interval"]["task"], entries["night"]["schedule"]["hour"]) == ("other", "4")
    assert "off" in entries


MALFORMED = {
    "no schedule": ("interval_id = NULL", "no schedule"),
    "args": ("args = '{1'", "no JSON"),
    "args of names": ("args = '{\"a\": 1}'", "not a list"),
    "kwargs": ("kwargs = '[1]'", "not values by name"),
    "headers": ("headers = '7'", "headers are 7"),
    "task": ("task = ''", "names no task"),
    "start": ("start_time = 'infinity'", "no moment"),
    "ends first": ("start_time = '2027-01-01 00:00:00', expires = '2026-01-01 00:00:00'", "before it starts"),
    "reserved": ('kwargs = \'{"a": {"__type__": "nothing", "__value__": 1}}\'', ""),
}


def test_a_row_that_makes_no_sense_is_named_and_the_others_come_in(there: Django) -> None:
    can_hold = {  # MariaDB refuses a moment that is none
        name: told
        for name, told in MALFORMED.items()
        if "infinity" not in told[0] or "mysql" not in there.url
    }
    names = [*can_hold, "good", "never", "zone", "quick", "period", "word"]
    there.make(
        "hourly = IntervalSchedule.objects.create(every=1, period='hours')\n"
        f"for name in {names!r}:\n"
        "    PeriodicTask.objects.create(name=name, task='add', interval=hourly)\n"
        "def of(name, **told):\n"
        "    PeriodicTask.objects.filter(name=name).update(**{'interval': None, **told})\n"
        "of('never', crontab=CrontabSchedule.objects.create(day_of_month='31', month_of_year='2'))\n"
        "of('zone', crontab=CrontabSchedule.objects.create(minute='1'))\n"
        "of('word', crontab=CrontabSchedule.objects.create(minute='often'))\n"
        "of('quick', interval=IntervalSchedule.objects.create(every=5, period='microseconds'))\n"
        "of('period', interval=IntervalSchedule.objects.create(every=5, period='moons'))\n"
    )
    there.execute(
        "UPDATE django_celery_beat_crontabschedule SET timezone = 'Europe/Madird' WHERE minute = '1'",
        *(
            f"UPDATE django_celery_beat_periodictask SET {change} WHERE name = '{name}'".replace(":", "\\:")
            for name, (change, _) in can_hold.items()
        ),
    )
    outcomes = there.bring()
    assert outcomes["good"].result == bringing.IMPORTED
    expected = {
        **{name: why for name, (_, why) in can_hold.items() if why},
        "never": "never",
        "zone": "did you mean Europe/Madrid",
        "word": "often",
        "quick": "due all the time",
        "period": "'moons'",
    }
    for name, why in expected.items():
        assert (outcomes[name].result, why in outcomes[name].why) == (bringing.REFUSED, True), outcomes[name]


def test_what_only_a_careless_database_can_hold_is_named(store: BeatStore, tmp_path: Path) -> None:
    there = Django(f"sqlite:///{tmp_path}/django.sqlite", store)
    there.make(
        "hourly = IntervalSchedule.objects.create(every=1, period='hours')\n"
        "for name in ['good', 'gone', 'bytes', 'flag', 'runs']:\n"
        "    PeriodicTask.objects.create(name=name, task='add', interval=hourly)\n"
    )
    change = "UPDATE django_celery_beat_periodictask SET"
    there.execute(
        f"{change} interval_id = 99 WHERE name = 'gone'",
        f"{change} args = x'ff00' WHERE name = 'bytes'",
        f"{change} enabled = 'perhaps' WHERE name = 'flag'",
        f"{change} total_run_count = 'many' WHERE name = 'runs'",
    )
    outcomes = there.bring()
    refused = {key: each.why for key, each in outcomes.items() if each.result == bringing.REFUSED}
    assert sorted(refused) == ["bytes", "flag", "gone", "runs"]
    assert "schedule 99 is not there" in refused["gone"]
    assert "not a text" in refused["bytes"]
    assert "neither true nor false" in refused["flag"]
    assert "not a whole number" in refused["runs"]


def test_the_settings_go_before_what_is_imported_and_what_was_made_here_stays(there: Django) -> None:
    from celery import Celery

    from autocelery._beat.from_settings import read

    app = Celery("here", set_as_current=False)
    app.conf.timezone = MADRID
    app.conf.beat_schedule = {
        "same": {"task": "add", "schedule": crontab("30", "2")},
        "differs": {"task": "add", "schedule": 60},
        "broken": {"task": "add"},
    }
    there.make(
        "night = CrontabSchedule.objects.create(hour='2', minute='30', timezone='Europe/Madrid')\n"
        "for name in ['same', 'differs', 'broken', 'made here', 'redbeat has it']:\n"
        "    PeriodicTask.objects.create(name=name, task='add', crontab=night)\n"
    )
    there.store.prepare()
    editing.edit(there.store, "made here", {"task": "add", "schedule": 5}, "UTC")
    Importer(there.store, REDBEAT, NOTHING).bring(
        [Found("redbeat has it", each.definition) for each in there.found()[:1]]
    )
    outcomes = there.bring(read(app))
    assert outcomes["same"].result == bringing.THERE
    assert "says otherwise of schedule" in outcomes["differs"].why
    assert "cannot be read" in outcomes["broken"].why
    assert "was made here" in outcomes["made here"].why
    assert "was imported from redbeat" in outcomes["redbeat has it"].why
    results = {key: each.result for key, each in outcomes.items() if key != "same"}
    assert set(results.values()) == {bringing.CLASHES}


def test_nothing_is_written_to_the_django_project(store: BeatStore, tmp_path: Path) -> None:
    there = Django(f"sqlite:///{tmp_path}/django.sqlite", store)
    there.make(KINDS)
    before = (tmp_path / "django.sqlite").read_bytes()
    there.bring()
    assert (tmp_path / "django.sqlite").read_bytes() == before
    assert sorted(each.name for each in tmp_path.glob("django*")) == ["django.sqlite"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:////nowhere/at/all.sqlite", "cannot be read"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/none", "cannot be read"),
        ("nonsense", "is wrong"),
        ("oracle+nothing://x", "is wrong"),
    ],
)
def test_a_database_that_cannot_be_read_is_named_without_its_password(url: str, says: str) -> None:
    with pytest.raises(BeatSourceUnavailable, match=says) as raised:
        django_celery_beat.read(url, "UTC", UTC)
    assert "secret" not in raised.value.message


def test_a_database_without_such_tables_says_so(postgres_database: str) -> None:
    with pytest.raises(BeatSourceUnavailable, match="no table django_celery_beat_periodictask"):
        django_celery_beat.read(postgres_database, "UTC", UTC)


@dataclass
class Redbeat:
    """Entries of redbeat under a prefix, and a schedule to import them into."""

    url: str
    prefix: str
    store: BeatStore

    def make(self, code: str) -> None:
        """Run code with redbeat's entries."""
        run("in_redbeat.py", code, REDBEAT_URL=self.url, REDBEAT_PREFIX=self.prefix)

    def bring(self) -> dict[str, Outcome]:
        """Import, and return what became of each entry."""
        found = redbeat.read(self.url, self.prefix, MADRID)
        return {each.key: each for each in Importer(self.store, REDBEAT, NOTHING).bring(found)}


@pytest.fixture
def entries(redis_url: str, redis_prefix: str, store: BeatStore) -> Redbeat:
    return Redbeat(redis_url, redis_prefix, store)


ENTRIES = """
from datetime import timezone
from celery.schedules import solar
made = save("interval", schedule(3600), args=[1], kwargs={"until": datetime(2027, 1, 1, tzinfo=UTC)},
            options={"queue": "q", "expires": 60})
made.reschedule(datetime.now(UTC) - timedelta(minutes=20))
next(save("ran", schedule(60)))
save("relative", schedule(60, relative=True))
save("crontab", crontab(minute=30, hour="2", day_of_week="mon-fri"))
save("sets", crontab(minute="*/15", hour="8,9"), enabled=False)
save("daily", rrule("DAILY", dtstart=datetime(2026, 1, 1, 9, 30, tzinfo=UTC), interval=2))
save("mondays", rrule("WEEKLY", dtstart=datetime(2026, 1, 1, 9, 30, tzinfo=timezone(timedelta(hours=1))),
                      byweekday=[0], byhour=[8], byminute=0))
save("over", rrule("DAILY", dtstart=datetime(2026, 1, 1, tzinfo=UTC), count=3))
save("easter", rrule("YEARLY", dtstart=datetime(2026, 1, 1, tzinfo=UTC), byeaster=[0]))
save("quick", schedule(0.2))
client = get_redis(app)
for name, told in {
    "json": "{", "list": "[1]", "type": '{"schedule": {"__type__": "moon"}}', "none": '{"task": "add"}',
    "zone": '{"task": "add", "schedule": {"__type__": "interval", "every": 60}, "kwargs": {"a": {"__type__": '
            '"datetime", "year": 2026, "month": 1, "day": 1, "timezone": "Europe/Madird"}}}',
    "odd": '{"task": "add", "schedule": {"__type__": "interval", "every": "often"}}',
    "renamed": '{"name": "other", "task": "add", "schedule": {"__type__": "interval", "every": 60}}',
}.items():
    client.hset(prefix + name, "definition", told)
    client.zadd(prefix + ":schedule", {prefix + name: 1})
client.zadd(prefix + ":schedule", {prefix + "lost": 1, prefix + "text": 1})
client.set(prefix + "text", "what?")
"""


def test_entries_of_redbeat_come_in_or_are_named_with_the_reason(entries: Redbeat) -> None:
    entries.make(ENTRIES)
    with redis.Redis.from_url(entries.url) as client:
        before = {key: client.dump(key) for key in sorted(client.scan_iter(f"{entries.prefix}*", count=1000))}
    now = datetime.now(UTC)
    outcomes = entries.bring()
    brought = {each.key: each for each in entries.store.entries()}
    assert sorted(brought) == sorted(
        ["interval", "ran", "relative", "crontab", "sets", "daily", "mondays", "over"]
    )
    told = {key: json.loads(each.definition) for key, each in brought.items()}
    assert (told["interval"]["args"], told["interval"]["options"]) == ([1], {"queue": "q", "expires": 60})
    assert told["sets"]["enabled"] is False
    assert (told["crontab"]["timezone"], told["crontab"]["schedule"]["day_of_week"]) == (MADRID, "mon-fri")
    assert brought["ran"].runs == 1
    interval, daily, mondays = (brought[key].next_tick for key in ("interval", "daily", "mondays"))
    assert interval is not None
    assert daily is not None
    assert mondays is not None
    assert timedelta(minutes=39) < interval - now <= timedelta(minutes=40)
    assert (daily - datetime(2026, 1, 1, 9, 30, tzinfo=UTC)) % timedelta(days=2) == timedelta()
    assert (mondays.weekday(), mondays.hour, mondays.minute) == (0, 7, 0)
    assert brought["over"].next_tick is None
    assert outcomes["crontab"].notes == ()  # clocks are changed on Sundays
    for key, why in {
        "easter": "byeaster",
        "quick": "due all the time",
        "json": "definition cannot be read",
        "list": "not values by name",
        "type": "'moon'",
        "none": "None",
        "zone": "did you mean Europe/Madrid",
        "odd": "schedule cannot be read",
        "renamed": "another name, 'other'",
        "lost": "no definition",
        "text": "WRONGTYPE",
    }.items():
        assert (outcomes[key].result, why in outcomes[key].why) == (bringing.REFUSED, True), outcomes[key]
    assert {entries.bring()[key].result for key in brought} == {bringing.THERE}
    with redis.Redis.from_url(entries.url) as client:
        after = {key: client.dump(key) for key in sorted(client.scan_iter(f"{entries.prefix}*", count=1000))}
    assert after == before


def test_a_redis_that_cannot_be_read_is_named(redis_url: str, redis_prefix: str) -> None:
    for url, says in {
        "redis://me:secret@127.0.0.1:1/0": "cannot be read",
        "amqp://guest@localhost//": "is wrong",
        redis_url: "no .*:schedule",
    }.items():
        with pytest.raises(BeatSourceUnavailable, match=says) as raised:
            redbeat.read(url, redis_prefix, "UTC")
        assert "secret" not in raised.value.message


@pytest.fixture
def fleet(entries: Redbeat, postgres_database: str, tmp_path: Path) -> Iterator[beats.Fleet]:
    broker = beats.on_redis(entries.url, entries.prefix)
    with beats.fleet(tmp_path, postgres_database, {}, broker) as made:
        yield made


def test_the_command_reports_and_exits_with_one_where_something_did_not_come_in(
    entries: Redbeat, fleet: beats.Fleet
) -> None:
    entries.make('save("good", schedule(60))\nsave("quick", schedule(0.1))')
    words = ("import", "redbeat", "--redis", entries.url, "--prefix", entries.prefix)
    done = fleet.run(*words, "--dry-run")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[0] == "good: imported"
    assert "quick: not imported: an interval of 0.1 seconds would be due all the time" in done.stdout
    assert "1 imported, 1 not imported. Nothing was written" in done.stderr
    assert fleet.run("list").returncode == 1  # not even the tables were made
    assert fleet.run(*words).returncode == 1
    assert re.search("^good .*imported from redbeat", fleet.run("list").stdout, re.MULTILINE)


def test_the_command_finds_the_tables_of_django_where_the_schedule_is(
    postgres_database: str, store: BeatStore, fleet: beats.Fleet
) -> None:
    Django(postgres_database, store).make(KINDS)
    done = fleet.run("import", "django-celery-beat", "--json")
    assert done.returncode == 0, done.stderr
    assert {each["result"] for each in json.loads(done.stdout)} == {"imported"}
    assert re.search("^night .*imported from django-celery-beat", fleet.run("list").stdout, re.MULTILINE)
