"""What was found elsewhere, in the words of this schedule, and reading its values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from autocelery._beat import encoding
from autocelery._beat.definition import Definition, check
from autocelery.errors import EntryInvalid

#: Where an entry comes from, as it is remembered with it.
DJANGO, REDBEAT = "django", "redbeat"
NAMES = {DJANGO: "django-celery-beat", REDBEAT: "redbeat"}


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of another scheduler.

    ``definition`` is missing where it cannot be imported, and ``problem`` says why. ``notes`` say what means something
    else here, ``last`` and ``runs`` when it was last sent there, and how often.
    """

    key: str
    definition: Definition | None = None
    problem: str | None = None
    notes: tuple[str, ...] = ()
    last: datetime | None = None
    runs: int = 0


def found(key: str, read: Callable[[], Found]) -> Found:
    """Return what ``read`` makes of an entry, or with what is wrong with it: one never keeps the others out."""
    try:
        made = read()
        if made.definition is not None:
            made.definition.zone  # noqa: B018 - it raises where there is no such zone
            check(made.definition)
    except EntryInvalid as error:
        return Found(key, problem=error.message)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        return Found(key, problem=f"it cannot be read: {type(error).__name__}: {error}")
    return made


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Name ``what`` is being read in what goes wrong with it.

    Raises:
        EntryInvalid: it cannot be read.
    """
    try:
        yield
    except EntryInvalid as error:
        raise EntryInvalid(f"its {what} {error.message}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise EntryInvalid(f"its {what} cannot be read: {error}") from None


def text_of(told: object) -> str:
    """Return a text; nothing is an empty one.

    Raises:
        EntryInvalid: it is something else.
    """
    if told is None:
        return ""
    if not isinstance(told, str):
        raise EntryInvalid(f"is {_shown(told)}, not a text")
    return told


def whole(told: object) -> int:
    """Return a whole number.

    Raises:
        EntryInvalid: it is none.
    """
    if isinstance(told, int) or (isinstance(told, str) and told.strip().lstrip("-").isdigit()):
        return int(told)
    raise EntryInvalid(f"is {_shown(told)}, not a whole number")


def listed(told: object) -> tuple[Any, ...]:
    """Return positional arguments; nothing is none.

    Raises:
        EntryInvalid: it is no list.
    """
    if told is None:
        return ()
    if not isinstance(told, list | tuple):
        raise EntryInvalid(f"are {_shown(told)}, not a list")
    return tuple(told)


def mapped(told: object) -> Mapping[str, Any]:
    """Return values by name; nothing is none.

    Raises:
        EntryInvalid: it is no mapping.
    """
    if told is None:
        return {}
    if not isinstance(told, Mapping) or not all(isinstance(name, str) for name in told):
        raise EntryInvalid(f"are {_shown(told)}, not values by name")
    return told


def json_of(told: object) -> Any:
    """Return the value of a text of JSON as Celery writes it; of an empty one ``None``.

    Raises:
        EntryInvalid: it is none.
    """
    text = text_of(told)
    try:
        return encoding.loads(text) if text.strip() else None
    except (ValueError, TypeError, LookupError, RecursionError):
        raise EntryInvalid(f"are {_shown(text)}, which is no JSON") from None


def moment_of(told: object, zone: tzinfo) -> datetime | None:
    """Return a moment in UTC; without an offset it is of ``zone``.

    Raises:
        EntryInvalid: it is none.
    """
    if told is None:
        return None
    try:
        moment = told if isinstance(told, datetime) else datetime.fromisoformat(text_of(told))
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise EntryInvalid(f"is {_shown(told)}, which is no moment") from None


def _shown(told: object) -> str:
    shown = repr(told)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
