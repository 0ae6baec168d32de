"""Reading ``beat_schedule``: what each entry says, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedule, solar

from autocelery._beat import encoding
from autocelery._beat.definition import Definition, check
from autocelery.errors import EntryInvalid

_CLEANUP = "celery.backend_cleanup"
_KNOWN = frozenset(each.name for each in fields(Definition)) | {"relative"}
_CRON_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``beat_schedule`` has: definitions, why others are none, and schedules that cannot be stored; by key."""

    definitions: Mapping[str, Definition]
    problems: Mapping[str, str]
    schedules: Mapping[str, BaseSchedule]


class TimeOfDay:
    """A time of day, for ``beat_schedule``.

    Args:
        at: hours and minutes, ``"02:30"``.
        days: days of the week, as a crontab has them: ``"mon-fri"``.

    >>> TimeOfDay("02:30", days="mon-fri").spec["at"]
    '02:30'
    """

    def __init__(self, at: str, days: str = "*") -> None:
        self.spec = {"kind": "time of day", "at": at, "days": days}


class Once:
    """A single moment, for ``beat_schedule``.

    Args:
        at: the moment; without an offset it is of the entry's time zone.
    """

    def __init__(self, at: datetime | str) -> None:
        self.spec = {"kind": "once", "at": at.isoformat() if isinstance(at, datetime) else at}


def read(app: Celery) -> Settings:
    """Return what the settings of ``app`` have, Celery's own clean-up of results among them."""
    definitions: dict[str, Definition] = {}
    problems: dict[str, str] = {}
    schedules: dict[str, BaseSchedule] = {}
    entries = {**_own(app), **(app.conf.beat_schedule or {})}
    names = Counter(map(str, entries))
    for key, told in entries.items():
        if names[str(key)] > 1:
            problems[str(key)] = (
                f"{names[str(key)]} entries have this key: as a number, a text or something else"
            )
            continue
        try:
            definition = _definition(told, str(app.conf.timezone or "UTC"))
        except EntryInvalid as error:
            problems[str(key)] = error.message
            continue
        except (TypeError, ValueError, AttributeError) as error:
            problems[str(key)] = f"it cannot be read: {error}"
            continue
        definitions[str(key)] = definition
        if definition.schedule["kind"] == "class" and "arguments" not in definition.schedule:
            schedules[str(key)] = told["schedule"]
    return Settings(definitions, problems, schedules)


def spec_of(told: object, relative: bool = False) -> dict[str, Any]:
    """Return how a schedule is stored.

    Args:
        told: seconds, a ``timedelta``, a schedule of Celery's, one of `autocelery.beat`, or of a user's class.
        relative: as Celery has it: an interval that is rounded to its resolution.

    Raises:
        EntryInvalid: it is none of these.
    """
    if isinstance(told, TimeOfDay | Once):
        return dict(told.spec)
    if isinstance(told, bool | None):
        raise EntryInvalid(f"its schedule is {told!r}")
    if isinstance(told, int | float):
        told = timedelta(seconds=told)
    if isinstance(told, timedelta):
        told = schedule(told, relative)
    if not isinstance(told, BaseSchedule):
        raise EntryInvalid(f"its schedule is a {type(told).__name__}: {told!r}; give seconds or crontab(...)")
    if type(told) is schedule and not told.relative:
        return {"kind": "interval", "seconds": told.run_every.total_seconds()}
    if type(told) is schedule and told.nowfun is None:
        return {
            "kind": "class",
            "path": "celery.schedules:schedule",
            "arguments": [told.run_every.total_seconds(), True],
        }
    if type(told) is crontab and told.nowfun is None:
        return {"kind": "crontab", **{name: _field(getattr(told, f"_orig_{name}")) for name in _CRON_FIELDS}}
    if type(told) is solar and told.nowfun is None:
        return {"kind": "solar", "event": told.event, "lat": told.lat, "lon": told.lon}
    return _of_class(told)


def _definition(told: object, timezone: str) -> Definition:
    if not isinstance(told, Mapping):
        raise EntryInvalid(f"it is a {type(told).__name__}, not a dict with task and schedule")
    unknown = told.keys() - _KNOWN
    if unknown or "task" not in told or "schedule" not in told:
        what = (
            f"it has the unknown {', '.join(sorted(map(str, unknown)))}"
            if unknown
            else "it lacks task or schedule"
        )
        raise EntryInvalid(f"{what}. Known are {', '.join(sorted(_KNOWN))}")
    rules = {
        name: value for name, value in told.items() if name not in ("schedule", "relative", "args", "options")
    }
    rules["kwargs"] = told.get("kwargs") or {}
    for name in ("starts", "ends"):
        if isinstance(rules.get(name), datetime):
            rules[name] = rules[name].isoformat()
    definition = Definition(
        **{"timezone": timezone, **rules},
        schedule=spec_of(told["schedule"], bool(told.get("relative"))),
        args=tuple(told.get("args") or ()),
        options={name: _plain(value) for name, value in (told.get("options") or {}).items()},
    )
    definition.zone  # noqa: B018 - it raises where there is no such zone
    return check(definition)


def _own(app: Celery) -> dict[str, Any]:
    """Celery's plain scheduler clears results away where their backend does not do so itself."""
    if not app.conf.result_expires or app.backend.supports_autoexpire:
        return {}
    options = {"expires": 12 * 3600}
    return {_CLEANUP: {"task": _CLEANUP, "schedule": crontab("0", "4", "*"), "options": options}}


def _plain(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _field(told: Any) -> str:
    if isinstance(told, str):
        return told.replace(" ", "")
    return ",".join(map(str, sorted([told] if isinstance(told, int) else told)))


def _of_class(told: BaseSchedule) -> dict[str, Any]:
    kind = type(told)
    spec: dict[str, Any] = {"kind": "class", "path": f"{kind.__module__}:{kind.__qualname__}"}
    try:
        made_by, arguments, *rest = told.__reduce__()
        if (
            made_by is kind
            and not rest
            and "<locals>" not in kind.__qualname__
            and kind.__module__ != "__main__"
        ):
            plain = _without_trailing_none(arguments)
            if encoding.loads(encoding.dumps(plain)) == plain:
                return {**spec, "arguments": plain}
        spec["why"] = f"{len(arguments)} arguments that are not JSON"
    except (TypeError, ValueError, AttributeError) as error:
        spec["why"] = str(error)[:100]
    return spec


def _without_trailing_none(arguments: tuple[Any, ...]) -> list[Any]:
    kept = list(arguments)
    while kept and kept[-1] is None:
        kept.pop()
    return kept
