"""What can be compared between two runs of a scenario: everything that is not an id, a time or a pid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from celery import exceptions
from celery.result import EagerResult, ResultBase, ResultSet

from tests.waiting import PATIENCE

_UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
#: Names that mark the program or the moment, not the call.
_NOT_COMPARED = frozenset(
    {"timestamp", "local_received", "utcoffset", "clock", "hostname", "pid", "runtime", "uuid", "type"}
)
_TIMES = frozenset({"eta", "expires"})
_OF_ONE_REQUEST = frozenset({"origin", "expires", "properties", "delivery_tag", "reply_to"})
_META_NOT_COMPARED = frozenset({"date_done", "snapshot"})
_LOG_LINE = re.compile(r"^\[[^\]]*: (\w+)/[^\]]*\] (.*)$")
_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")
#: The number that a pool gave a call whose process it lost (billiard before 4.3).
_JOB = re.compile(r" Job: \d+\.")
#: Where installed packages lie: a call in an environment of its own has Celery's code from elsewhere.
_PACKAGES = re.compile(r"(?<=\")/[^\"]*/site-packages(?=/)")
_SECONDS = re.compile(r"\bin \d+\.\d+(e-\d+)?s\b")

#: Events come from the sender, from the worker and from the task itself: among the three, order is an accident.
#: A message that is sent again may arrive before the worker has told the end of the run that sent it, deployed or
#: live. What several runs of one call say is compared in this order.
_ORDER = ("task-sent", "task-received", "task-started", "task-retried", "task-rejected")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Everything that is known of one call."""

    name: str
    args: str
    parent: str
    root: str
    published: tuple[str, ...]
    events: tuple[tuple[str, Pairs], ...]
    ran: tuple[str, ...]
    stored: Pairs
    logged: tuple[str, ...]

    def event_types(self) -> list[str]:
        """Return the types of its events in order, without their prefix."""
        return [kind.removeprefix("task-") for kind, _ in self.events]

    def steps(self) -> list[str]:
        """Return what the project recorded of it, run by run and in order, without the details."""
        return [each.split(" ")[1] for each in self.ran]

    def step(self, name: str) -> str:
        """Return the details of the one step of this name."""
        (found,) = [each for each in self.ran if each.split(" ")[1] == name]
        return found.split(" ", 2)[2]

    def meta(self, name: str) -> str | None:
        """Return one field of what the result backend holds."""
        return dict(self.stored).get(name)


@dataclass(frozen=True, slots=True)
class Record:
    """What a scenario came to: what its caller saw, and every call that came of it."""

    value: Any
    calls: tuple[CallRecord, ...]

    def call(self, name: str) -> CallRecord:
        """Return the one call of the task whose name ends like this."""
        (found,) = self.named(name)
        return found

    def lines(self) -> list[str]:
        """Return all of it, one fact a line, for a difference that can be read."""
        found = [f"value: {self.value!r}"]
        for call in self.calls:
            found += [f"{call.name} {call.args} of {call.parent} in {call.root}"]
            found += [f"  published {each}" for each in call.published]
            found += [
                f"  {kind}: {name}={value}"
                for kind, told in call.events
                for name, value in told or [("", "")]
            ]
            found += [f"  ran {each}" for each in call.ran]
            found += [f"  stored {name}={value}" for name, value in call.stored]
            found += [f"  logged {each}" for each in call.logged]
        return found

    def named(self, name: str) -> list[CallRecord]:
        """Return the calls of the tasks whose names end like this."""
        return [each for each in self.calls if each.name.endswith(name)]


class Labels:
    """Gives each id a name that is the same in the next run."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def add(self, task_id: str, label: str) -> None:
        """Remember what to call ``task_id``."""
        self._labels[task_id] = label

    def text(self, value: Any) -> str:
        """Return ``value`` as text with names in place of ids."""
        said = value if isinstance(value, str) else repr(value)
        named = _UUID.sub(lambda found: self._labels.get(found.group(), "<id>"), said)
        return _PACKAGES.sub("<packages>", _JOB.sub(" Job: N.", named))


def described(value: Any, labels: Labels) -> Any:
    """Return what a scenario returned in values that can be compared."""
    if isinstance(value, EagerResult):
        return ("eager", value.state, described(value.result, labels))
    if isinstance(value, ResultSet):
        return tuple(described(each, labels) for each in value.results)
    if isinstance(value, ResultBase):
        outcome = _outcome_of(value)
        return (value.state, described(outcome, labels))
    if isinstance(value, BaseException):
        return exception_text(value, labels)
    if isinstance(value, Mapping):
        return {labels.text(key): described(each, labels) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(described(each, labels) for each in value)
    return labels.text(value) if isinstance(value, str) else value


def _outcome_of(result: ResultBase) -> Any:
    """Return what a call that has ended came to."""
    try:
        return result.get(propagate=False, timeout=PATIENCE)
    except exceptions.TimeoutError:
        stored = result.backend.get_task_meta(result.id, cache=False)
        raise AssertionError(
            f"{result.id} has ended, but its result did not come; stored is {stored}"
        ) from None


def exception_text(exc: BaseException, labels: Labels) -> str:
    """Return class, module and arguments of an exception."""
    return labels.text(f"{type(exc).__module__}.{type(exc).__qualname__}{exc.args!r}")


def ordered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a call's events in the order in which they came, as far as that is no accident.

    What replaces a task is sent under the same id by another process, which may tell of it first.
    """
    events = sorted(events, key=_as_sent)
    if sum(event["type"] == "task-received" for event in events) < 2:
        return sorted(
            events, key=lambda event: (event["type"] != "task-sent", event["type"] == "task-custom")
        )
    ranks = {kind: rank for rank, kind in enumerate(_ORDER)}
    return sorted(events, key=lambda event: (ranks.get(event["type"], len(ranks)), str(event.get("retries"))))


def _as_sent(event: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return where an event that tells of sending belongs among those: first of a call, then of what replaced it."""
    if event["type"] != "task-sent":
        return ()
    replaces = event.get("parent_id") == event["uuid"]
    return (replaces, *(str(event.get(name)) for name in ("name", "retries", "args", "kwargs")))


def run_by_run(steps: list[list[Any]]) -> list[list[Any]]:
    """Return what was recorded of a call, run by run where there was more than one."""
    return sorted(steps, key=lambda step: step[0]) if len({step[0] for step in steps}) > 2 else steps


def events_of(events: Iterable[Mapping[str, Any]], labels: Labels) -> tuple[tuple[str, Pairs], ...]:
    """Return types and fields of a call's events."""
    found = []
    for event in events:
        told = {name: value for name, value in event.items() if name not in _NOT_COMPARED}
        told |= {name: bool(value) for name, value in told.items() if name in _TIMES}
        found.append((event["type"], pairs(told, labels)))
    return tuple(found)


def stored_of(meta: Mapping[str, Any], labels: Labels) -> Pairs:
    """Return the fields of a call's result, exceptions described."""
    kept = {name: value for name, value in meta.items() if name not in _META_NOT_COMPARED}
    if isinstance(kept.get("result"), BaseException):
        kept["result"] = exception_text(kept["result"], labels)
    return pairs(kept, labels)


def whoever_was_last(record: Record) -> Record:
    """Return ``record`` without parents and roots: a chord's body is the child of the header's task that ended last.

    Where the backend cannot count, Celery polls with a task, as often as it takes: that is left out too.
    """
    calls = [_orphaned(each) for each in record.calls if each.name != "celery.chord_unlock"]
    return Record(record.value, tuple(sorted(calls, key=repr)))


def _orphaned(call: CallRecord) -> CallRecord:
    kin = ("parent_id", "root_id")
    return replace(
        call,
        parent="?",
        root="?",
        events=tuple(
            (kind, tuple(each for each in told if each[0] not in kin)) for kind, told in call.events
        ),
        stored=tuple(each for each in call.stored if each[0] not in kin),
    )


def seen_alike(record: Record) -> Record:
    """Return ``record`` without what differs between any two requests: where from, when, by which process."""
    calls = tuple(replace(each, ran=(), logged=(), stored=(), events=()) for each in record.calls)
    return whoever_was_last(Record(_alike(record.value), calls))


def _alike(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: each for name, each in value.items() if name not in _OF_ONE_REQUEST}
    return tuple(_alike(each) for each in value) if isinstance(value, tuple) else value


def in_any_order(record: Record) -> Record:
    """Return ``record`` with the steps of each call sorted: two processes had a part in them at the same time."""
    return Record(record.value, tuple(replace(each, ran=tuple(sorted(each.ran))) for each in record.calls))


def only_the_value(record: Record) -> Record:
    """Return ``record`` with nothing but what the caller saw."""
    return Record(record.value, ())


def without_addresses(record: Record) -> Record:
    """Return ``record`` without the addresses that objects have in memory."""

    def strip(value: Any) -> Any:
        if isinstance(value, str):
            return _ADDRESS.sub("0x…", value)
        return tuple(strip(each) for each in value) if isinstance(value, tuple) else value

    calls = [
        CallRecord(**{field.name: strip(getattr(call, field.name)) for field in fields(CallRecord)})
        for call in record.calls
    ]
    return Record(strip(record.value), tuple(calls))


def pairs(named: Mapping[str, Any], labels: Labels) -> Pairs:
    """Return ``named`` as sorted pairs of text."""
    return tuple(sorted((name, labels.text(value)) for name, value in named.items()))


def logged_of(log: str, task_id: str, labels: Labels) -> tuple[str, ...]:
    """Return the level and first line of what the worker logged about a call, without times."""
    found = []
    for line in log.splitlines():
        match = _LOG_LINE.match(line)
        if match and task_id in line:
            found.append(labels.text(_SECONDS.sub("in N s", " ".join(match.groups()))))
    return tuple(sorted(found))  # several processes write to the log
