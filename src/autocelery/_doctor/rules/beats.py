"""Rules on periodic tasks, and on who sends them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab

from autocelery._doctor.deployment import Command
from autocelery._doctor.evidence import Evidence
from autocelery._doctor.finding import Change, Place, Sight
from autocelery._doctor.rule import rule

#: Schedulers of which several agree on who sends.
_SAFE = ("autocelery", "redbeat")
#: Hours in which clocks are changed.
_CHANGING = frozenset({0, 1, 2, 3})
_OFTEN = 60


def _is_safe(evidence: Evidence) -> bool:
    scheduler = str(evidence.settings.get("beat_scheduler") or "").lower()
    return any(name in scheduler for name in _SAFE)


def _place(command: Command) -> Place:
    if command.file:
        return Place(f"celery {command.name}", command.file, command.line)
    return Place(f"process {command.pid}")


@rule(
    "AC080",
    "Two beats",
    level="error",
    since="every version",
    why="Each beat sends every periodic task: with two of them everything runs twice. Celery's own schedulers know "
    "nothing of each other.",
    fix="Run one, or a scheduler of which several may run: autocelery -A proj beat.",
    issues=("celery/celery#1495", "celery/celery#2856", "celery/django-celery-beat#337"),
)
def two_beats(evidence: Evidence) -> Iterator[Sight]:
    """See two beats in the deployment files, or running on this machine."""
    if _is_safe(evidence):
        return
    for commands, where in ((evidence.running, "run on this machine"), (evidence.commands, "are started")):
        by_file: dict[tuple[str, str], list[Command]] = {}
        for each in commands:
            if each.is_beat and not each.is_safe_twice:
                by_file.setdefault((each.file, each.app), []).append(each)
        for beats in by_file.values():
            count = sum(each.copies for each in beats)
            if count > 1:
                yield Sight(_place(beats[-1]), f"{count} beats {where}, and each sends every periodic task.")
                return


@rule(
    "AC081",
    "Beat inside a worker",
    level="warning",
    since="every version",
    why="-B starts a beat in that worker. The day somebody starts a second worker with the same command there are two "
    "beats, and every periodic task runs twice.",
    fix="Run beat as a process of its own, and workers without -B.",
)
def embedded_beat(evidence: Evidence) -> Iterator[Sight]:
    """See ``worker -B`` in the deployment files."""
    for each in evidence.commands:
        if each.is_embedded_beat and not each.is_safe_twice and not _is_safe(evidence):
            yield Sight(_place(each), "This worker has a beat inside, and so has every copy of it.")


@rule(
    "AC082",
    "A periodic task that is not there",
    level="warning",
    since="every version",
    why="Beat sends by name, and does not look whether a task has it. Each tick is a message that workers refuse as "
    "unregistered.",
    fix="Correct the name in beat_schedule, or import the module with the task (include=[...]).",
)
def unknown_entry(evidence: Evidence) -> Iterator[Sight]:
    """See entries whose task the app does not have."""
    names = set(evidence.app.tasks)
    packages = {name.partition(".")[0] for name in names}
    for key, entry in evidence.beat_schedule.items():
        task = str(entry.get("task", ""))
        if task.partition(".")[0] not in packages and (entry.get("options") or {}).get("queue"):
            continue  # of another project, whose queue that is
        if task and task not in names:
            near = difflib.get_close_matches(task, sorted(names), 1, 0.8)
            hint = f"; there is {near[0]}" if near else ""
            yield Sight(
                evidence.settings.place("beat_schedule"),
                f"{key} sends {task}, and no task is called so{hint}.",
            )


@rule(
    "AC083",
    "One periodic task twice",
    level="warning",
    since="every version",
    why="Two entries send the same task with the same arguments at the same times: it runs twice, always.",
    fix="Remove one of the entries.",
)
def same_entry(evidence: Evidence) -> Iterator[Sight]:
    """See entries that say the same."""
    seen: dict[tuple[str, ...], str] = {}
    for key, entry in evidence.beat_schedule.items():
        said = tuple(
            repr(entry.get(name) or None) for name in ("task", "schedule", "args", "kwargs", "options")
        )
        if said in seen:
            message = f"{key} and {seen[said]} send {entry.get('task')} at the same times."
            yield Sight(evidence.settings.place("beat_schedule"), message)
        seen.setdefault(said, key)


def _seconds(schedule: Any) -> float | None:
    if isinstance(schedule, timedelta):
        return schedule.total_seconds()
    if isinstance(schedule, int | float) and not isinstance(schedule, bool):
        return float(schedule)
    every = getattr(schedule, "run_every", None)
    return every.total_seconds() if isinstance(every, timedelta) else None


@rule(
    "AC084",
    "Ticks that pile up",
    level="info",
    since="every version",
    why="While workers are down, or slower than the ticks, messages add up. When they are back the same task runs "
    "hundreds of times in a row, each for nothing.",
    fix='"options": {"expires": SECONDS} in the entry, with the seconds between two ticks.',
)
def piling_ticks(evidence: Evidence) -> Iterator[Sight]:
    """See entries of every minute and more often that do not expire."""
    for key, entry in evidence.beat_schedule.items():
        seconds = _seconds(entry.get("schedule"))
        options = entry.get("options") or {}
        if seconds is not None and seconds <= _OFTEN and not options.get("expires"):
            message = f"{key} is sent every {seconds:g} s, and its messages do not expire."
            yield Sight(
                evidence.settings.place("beat_schedule"),
                message,
                fix=f'"options": {{"expires": {seconds:g}}}',
            )


def _changes_clocks(name: str) -> bool:
    """Whether a zone has summer time."""
    try:
        zone = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    year = datetime.now(zone).year
    return datetime(year, 1, 15, tzinfo=zone).utcoffset() != datetime(year, 7, 15, tzinfo=zone).utcoffset()


@rule(
    "AC085",
    "A crontab in the hour of the change",
    level="info",
    since="every version",
    why="In a zone with summer time an hour is skipped in spring and repeated in autumn. Celery's beat leaves out "
    "ticks of the repeated hour, and moves those of the skipped one.",
    fix="timezone = 'UTC', an hour after 3, or autocelery -A proj beat, whose rule is written down.",
    issues=("celery/celery#6438", "celery/celery#10107"),
)
def hour_of_change(evidence: Evidence) -> Iterator[Sight]:
    """See crontabs between 0 and 3 o'clock in such a zone."""
    zone = str(evidence.settings.get("timezone") or "UTC")
    if _is_safe(evidence) or not _changes_clocks(zone):
        return
    for key, entry in evidence.beat_schedule.items():
        schedule = entry.get("schedule")
        if isinstance(schedule, crontab) and schedule.hour & _CHANGING and len(schedule.hour) < 24:
            message = f"{key} is due in an hour that is skipped and repeated in {zone}."
            yield Sight(evidence.settings.place("beat_schedule"), message)


@rule(
    "AC086",
    "Times that are not in UTC",
    level="warning",
    since="every version",
    why="With enable_utc off, times in messages are in the sender's zone. A worker with another zone, or another "
    "setting, takes an ETA for hours earlier or later.",
    fix="enable_utc = True; crontabs follow timezone all the same.",
)
def no_utc(evidence: Evidence) -> Iterator[Sight]:
    """See enable_utc switched off."""
    if evidence.settings.get("enable_utc") is False:
        place = evidence.settings.place("enable_utc")
        yield Sight(place, "Times in messages are local ones.", change=Change("enable_utc", True))


@rule(
    "AC087",
    "Two time zones in one project",
    level="warning",
    since="every version with Django",
    why="Crontabs are read in Celery's zone, which is UTC unless set, and everything else in Django's TIME_ZONE. A "
    "report of 8 o'clock is sent at 9 or at midnight.",
    fix="CELERY_TIMEZONE = TIME_ZONE",
)
def two_zones(evidence: Evidence) -> Iterator[Sight]:
    """See crontabs, and a zone of Celery's that is not Django's."""
    django = evidence.django_zone
    celery = str(evidence.settings.get("timezone") or "UTC")
    has_crontab = any(isinstance(entry.get("schedule"), crontab) for entry in evidence.beat_schedule.values())
    if django and has_crontab and django != celery and not evidence.settings.is_set("timezone"):
        yield Sight(
            evidence.settings.place("timezone"),
            f"Crontabs are read in {celery}, and Django's TIME_ZONE is {django}.",
            fix=f"{evidence.settings.spelled('timezone')} = {django!r}",
            change=Change("timezone", django),
        )
