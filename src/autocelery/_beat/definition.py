"""What an entry says: which task, with what, when, and by which rules."""

from __future__ import annotations

import difflib
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from autocelery._beat import encoding
from autocelery._beat.kinds import moment_of
from autocelery.errors import EntryInvalid

#: What happens to ticks that came while nobody ran.
MISSED = ("skip", "once", "all")
#: A tick is missed when nobody has sent it so many seconds after it was due.
DEFAULT_GRACE = 60.0
#: How many missed ticks are made up for at most, where all are.
DEFAULT_LIMIT = 100
MOST_LIMIT = 10_000
#: Options of a call that belong to beat: they say which tick it is.
RESERVED_OPTIONS = frozenset({"task_id", "producer", "connection"})
_NAMESPACE = uuid.UUID("3c0d9f35-6a0a-4c55-9c4d-0e6a86c5a0d7")
_LONGEST_KEY = 1000


@dataclass(frozen=True, slots=True)
class Definition:
    """What an entry says, as it is stored.

    Args:
        task: the task's name.
        schedule: its kind and what that kind has.
        args: positional arguments.
        kwargs: keyword arguments.
        options: of ``apply_async``: ``queue``, ``priority``, ``expires``, ...
        timezone: an IANA zone.
        enabled: whether it is sent at all.
        missed: what happens to ticks that came while nobody ran: ``skip``, ``once`` or ``all``.
        limit: how many missed ticks are made up for at most under ``all``; the latest.
        grace: seconds after which a tick counts as missed.
        jitter: seconds by which each tick is delayed at most; the same tick always by as much.
        starts: no tick before it (ISO 8601).
        ends: no tick after it.
        max_runs: how often it is sent at most.
        overlap: whether it is sent while its last run is still going.
    """

    task: str
    schedule: Mapping[str, Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    timezone: str = "UTC"
    enabled: bool = True
    missed: str = "once"
    limit: int = DEFAULT_LIMIT
    grace: float = DEFAULT_GRACE
    jitter: float = 0.0
    starts: str | None = None
    ends: str | None = None
    max_runs: int | None = None
    overlap: bool = True

    def encode(self) -> str:
        """Return it as it is stored: JSON with sorted keys, as kombu writes it.

        Raises:
            EntryInvalid: an argument or an option is not JSON.
        """
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        try:
            return encoding.dumps(told)
        except (TypeError, ValueError) as error:
            raise EntryInvalid(
                f"its arguments or options are not JSON ({error}); pass what identifies a thing, such as a primary key"
            ) from None

    @property
    def fingerprint(self) -> str:
        """A digest of all that it says."""
        return hashlib.sha256(self.encode().encode()).hexdigest()[:32]

    @property
    def zone(self) -> ZoneInfo:
        """The zone whose clock is read.

        Raises:
            EntryInvalid: there is no zone of that name.
        """
        return zone_of(self.timezone)

    @property
    def first(self) -> datetime | None:
        """No tick is before it."""
        return moment_of(self.starts, self.zone) if self.starts else None

    @property
    def last(self) -> datetime | None:
        """No tick is after it."""
        return moment_of(self.ends, self.zone) if self.ends else None


def decode(text: str) -> Definition:
    """Return the definition that was stored.

    Raises:
        EntryInvalid: it is none.
    """
    try:
        told = encoding.loads(text)
        return check(Definition(**{**told, "args": tuple(told.get("args") or ())}))
    except (TypeError, ValueError, AttributeError) as error:
        raise EntryInvalid(f"what is stored of it cannot be read: {error}") from None


def check(definition: Definition) -> Definition:
    """Return ``definition`` if what it says of itself makes sense.

    Raises:
        EntryInvalid: it does not.
    """
    if not definition.task or not isinstance(definition.task, str):
        raise EntryInvalid("it names no task")
    if definition.missed not in MISSED:
        raise EntryInvalid(f"missed is {definition.missed!r}, not {', '.join(MISSED)}")
    reserved = RESERVED_OPTIONS & definition.options.keys()
    if reserved:
        raise EntryInvalid(f"the option {', '.join(sorted(reserved))} is beat's own; take it out")
    for name, least in (("limit", 1), ("grace", 0), ("jitter", 0), ("max_runs", 1)):
        number = getattr(definition, name)
        if number is not None and not (isinstance(number, int | float) and number >= least):
            raise EntryInvalid(f"{name} is {number!r}; it is a number, {least} or more")
    if definition.limit > MOST_LIMIT:
        raise EntryInvalid(
            f"limit is {definition.limit!r}; at most {MOST_LIMIT} missed ticks are made up for"
        )
    try:
        first, last = definition.first, definition.last
    except (TypeError, ValueError) as error:
        raise EntryInvalid(f"starts or ends is no moment in ISO 8601: {error}") from None
    if first and last and last < first:
        raise EntryInvalid(f"it ends ({definition.ends}) before it starts ({definition.starts})")
    definition.encode()
    return definition


def zone_of(name: str) -> ZoneInfo:
    """Return the zone called ``name``.

    Raises:
        EntryInvalid: there is none.
    """
    import zoneinfo

    try:
        return ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = difflib.get_close_matches(str(name), zoneinfo.available_timezones(), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}" if near else "names are those of the IANA, such as Europe/Madrid"
        raise EntryInvalid(f"there is no time zone {name!r}; {hint}") from None


def id_of(key: str) -> str:
    """Return what identifies the entry called ``key`` in the database, whatever that makes of case and blanks.

    Raises:
        EntryInvalid: it is empty or very long.
    """
    if not 0 < len(key) <= _LONGEST_KEY:
        raise EntryInvalid(f"its key is no text of 1 to {_LONGEST_KEY} characters")
    return uuid.uuid5(_NAMESPACE, key).hex


def task_id_of(entry: str, tick: datetime) -> str:
    """Return the id of the call that the tick of an entry sends: the same one whoever sends it, however often.

    Args:
        entry: the entry's id.
        tick: when it was due.
    """
    return str(uuid.uuid5(uuid.UUID(entry), tick.astimezone(UTC).isoformat()))


def changed(definition: Definition, **changes: Any) -> Definition:
    """Return ``definition`` with some of it changed.

    Raises:
        EntryInvalid: that makes no sense.
    """
    try:
        return check(replace(definition, **changes))
    except TypeError as error:
        raise EntryInvalid(str(error)) from None
