"""The entries of redbeat, in the words of this schedule; read from Redis without redbeat, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import partial
from typing import Any

from autocelery._beat.definition import Definition, zone_of
from autocelery._beat.importing.found import Found, found, listed, mapped, reading, text_of, whole
from autocelery._beat.importing.recurrence import recurrence_of
from autocelery._blobs.addresses import short, without_password
from autocelery.errors import BeatSourceUnavailable, EntryInvalid

#: What redbeat's keys begin with, unless its settings say otherwise.
PREFIX = "redbeat:"
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_AT_ONCE = 500
_SECONDS = 5


def read(url: str, prefix: str, timezone: str) -> list[Found]:
    """Return what redbeat has in a Redis.

    Args:
        url: of the Redis.
        prefix: of redbeat's keys.
        timezone: of crontabs: that of the app.

    Raises:
        BeatSourceUnavailable: it cannot be read, or has no entries under that prefix.
    """
    with _connected(url) as client:
        keys = _keys(client, prefix)
        if not keys:
            raise BeatSourceUnavailable(
                f"Redis at {without_password(url)} has no {prefix}:schedule, or an empty one. Name redbeat_key_prefix "
                "with --prefix, and redbeat_redis_url with --redis."
            )
        stored: dict[str, _Stored] = {}
        for begin in range(0, len(keys), _AT_ONCE):
            stored.update(_stored(client, keys[begin : begin + _AT_ONCE]))
    return [_found(key.removeprefix(prefix), told, timezone) for key, told in stored.items()]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What Redis has of an entry, or what it answered instead."""

    definition: bytes | None
    meta: bytes | None
    error: str | None = None


def _keys(client: Any, prefix: str) -> list[str]:
    """Return the keys of all entries: redbeat has each in its schedule, those that are disabled or over too."""
    return sorted(each.decode("utf-8", "replace") for each in client.zrange(f"{prefix}:schedule", 0, -1))


def _stored(client: Any, keys: list[str]) -> Iterator[tuple[str, _Stored]]:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, "definition", "meta")
        answers = pipe.execute(raise_on_error=False)
    for key, answer in zip(keys, answers, strict=True):
        yield key, _Stored(None, None, str(answer)) if isinstance(answer, Exception) else _Stored(*answer)


def _found(name: str, stored: _Stored, timezone: str) -> Found:
    return found(name, partial(_read, name, stored, timezone))


def _read(name: str, stored: _Stored, timezone: str) -> Found:
    if stored.error is not None:
        raise EntryInvalid(f"Redis cannot read it: {stored.error}")
    if stored.definition is None:
        raise EntryInvalid("redbeat's schedule names it, and there is no definition of it")
    with reading("definition"):
        told = mapped(json.loads(stored.definition))
    with reading("meta"):
        meta = mapped(json.loads(stored.meta or "{}"))
        last = _typed(meta.get("last_run_at"))
        runs = max(0, whole(meta.get("total_run_count") or 0))
    if last is not None and not isinstance(last, datetime):
        raise EntryInvalid(f"its last_run_at is {last!r}, which is no moment")
    if text_of(told.get("name")) not in ("", name):
        raise EntryInvalid(f"its definition has another name, {told['name']!r}")
    return Found(name, _definition(told, timezone), last=last, runs=runs)


def _definition(told: Mapping[str, Any], timezone: str) -> Definition:
    with reading("schedule"):
        placed = _placed(told.get("schedule"), timezone)
    with reading("args"):
        args = listed(_typed(told.get("args")))
    with reading("kwargs"):
        kwargs = dict(mapped(_typed(told.get("kwargs"))))
    with reading("options"):
        options = dict(mapped(_typed(told.get("options"))))
    enabled = told.get("enabled", True)
    if not isinstance(enabled, bool):
        raise EntryInvalid(f"its enabled is {enabled!r}, neither true nor false")
    with reading("task"):
        task = text_of(told.get("task"))
    return Definition(task=task, args=args, kwargs=kwargs, options=options, enabled=enabled, **placed)


def _placed(told: Any, timezone: str) -> dict[str, Any]:
    """Return a schedule, its zone, its begin and its end."""
    kind = told.get("__type__") if isinstance(told, Mapping) else None
    if kind == "interval":
        return {"schedule": _interval(told), "timezone": timezone}
    if kind == "crontab":
        fields = {name: _field(told[name]) for name in _FIELDS if name in told}
        return {"schedule": {"kind": "crontab", **fields}, "timezone": timezone}
    if kind == "rrule":
        rule = recurrence_of(told)
        return {
            "schedule": rule.schedule,
            "timezone": rule.timezone,
            "starts": rule.starts,
            "ends": rule.ends,
        }
    raise EntryInvalid(f"is of the type {kind!r}, which redbeat itself does not have")


def _interval(told: Mapping[str, Any]) -> dict[str, Any]:
    seconds = float(told["every"])
    if told.get("relative"):
        return {"kind": "class", "path": "celery.schedules:schedule", "arguments": [seconds, True]}
    return {"kind": "interval", "seconds": seconds}


def _field(told: object) -> str:
    if isinstance(told, list):
        return ",".join(map(str, sorted(map(int, told))))
    return str(whole(told)) if isinstance(told, int) else text_of(told).replace(" ", "")


def _typed(told: Any) -> Any:
    """Return a value with the moments in it as what they are.

    Raises:
        EntryInvalid: there is something else in it that is no plain JSON.
    """
    if isinstance(told, list):
        return [_typed(each) for each in told]
    if not isinstance(told, Mapping):
        return told
    if "__type__" not in told:
        return {name: _typed(value) for name, value in told.items()}
    if told["__type__"] != "datetime":
        raise EntryInvalid(f"has a value of the type {told['__type__']!r}, which is no JSON")
    year, month, day = (int(told[each]) for each in ("year", "month", "day"))
    hour, minute, second = (int(told.get(each, 0)) for each in ("hour", "minute", "second"))
    return datetime(year, month, day, hour, minute, second, tzinfo=_zone(told.get("timezone", "UTC")))


def _zone(told: object) -> tzinfo:
    if isinstance(told, int | float):
        return timezone(timedelta(seconds=told))
    return UTC if told == "UTC" else zone_of(text_of(told))


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    from_url, errors = _client()
    client = None
    try:
        client = from_url(url, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS * 6)
        yield client
    except ValueError as error:
        raise BeatSourceUnavailable(
            f"The address of redbeat's Redis, {without_password(url)}, is wrong: {error}. Name it: --redis redis://host/0"
        ) from None
    except errors as error:
        raise BeatSourceUnavailable(
            f"Redis at {without_password(url)} cannot be read ({short(str(error))}). Check that it runs, and name "
            "another with --redis."
        ) from None
    finally:
        if client is not None:
            client.close()


def _client() -> tuple[Callable[..., Any], tuple[type[Exception], ...]]:
    try:
        import redis
    except ImportError:
        raise BeatSourceUnavailable(
            "Redbeat's entries are in Redis, and its client is not installed. Run: pip install 'autocelery[redis]'"
        ) from None
    return redis.Redis.from_url, (redis.RedisError, OSError)
