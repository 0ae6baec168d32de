"""Two versions of an app's tasks: who may be deployed first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from autocelery._celery.signatures import PARK, STRICT
from autocelery._check.fitting import counterexample
from autocelery_host.shapes import Shape

_HIDDEN = "Its function does not show its parameters."


class Verdict(StrEnum):
    """What becomes of messages while both versions run."""

    SAFE = "safe"
    WORKERS_FIRST = "safe if workers go first"
    PRODUCERS_FIRST = "safe if producers go first"
    BREAKS = "breaks"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True)
class Declared:
    """A task of one version of the code.

    Args:
        shape: of its calls; ``None`` where it cannot be told.
        policy: for messages that do not fit.
        place: where it is defined, as ``path:line``; nothing where that is not known.
        doubt: why its shape cannot be told.
    """

    shape: Shape | None
    policy: str = STRICT
    place: str = ""
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One task, and why the verdict is what it is.

    Args:
        task: its name.
        verdict: who may go first.
        why: what would fail, a sentence each.
        steps: how to do it so that nothing does, in order.
        place: where it is defined here, or was there.
    """

    task: str
    verdict: Verdict
    why: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    place: str = ""


def compare(
    old: Mapping[str, Declared], new: Mapping[str, Declared], whose: str = "old"
) -> Iterator[Compared]:
    """Yield each task of two versions, by name.

    Args:
        old: what runs now.
        new: what is to run.
        whose: what to call the old side: ``old``, ``the running``.
    """
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield added(name, new[name], whose)
        elif after is None:
            yield removed(name, before)
        else:
            yield changed(name, before, after, whose)


def unknown(name: str, why: str, place: str = "") -> Compared:
    """Return that nothing can be told of a task, which is never the same as safe."""
    return Compared(name, Verdict.UNKNOWN, (why,), place=place)


def added(name: str, after: Declared, whose: str = "old") -> Compared:
    """Return what becomes of a task that the old side does not have."""
    return Compared(
        name,
        Verdict.WORKERS_FIRST,
        (f"{whose.capitalize()} workers do not know the task: they drop its messages.",),
        ("Deploy the workers.", "Then deploy what sends it."),
        after.place,
    )


def removed(name: str, before: Declared) -> Compared:
    """Return what becomes of a task that only the old side has."""
    return Compared(
        name,
        Verdict.PRODUCERS_FIRST,
        ("New workers do not know the task: they drop the messages of it that are queued.",),
        ("Deploy what sends it, without the calls.", "Wait until no message of it is queued, countdowns too.",
         "Then deploy the workers."),
        before.place,
    )  # fmt: skip


def changed(name: str, before: Declared, after: Declared, whose: str = "old") -> Compared:
    """Return what becomes of a task that both sides have."""
    if before.shape is None or after.shape is None:
        return unknown(name, before.doubt or after.doubt or _HIDDEN, after.place)
    if before.shape.signature == after.shape.signature:
        return Compared(name, Verdict.SAFE, place=after.place)
    forth = counterexample(before.shape.signature, after.shape.signature)
    back = counterexample(after.shape.signature, before.shape.signature)
    short = after.shape.name
    why = []
    old_fails = forth is not None and not _copes(after, before.shape)
    new_fails = back is not None and not _copes(before, after.shape)
    if old_fails:
        why.append(f"A queued {short}({forth}) does not fit {after.shape}, which new workers have.")
    if new_fails:
        why.append(f"A new {short}({back}) does not fit {before.shape}, which {whose} workers have.")
    if not old_fails and not new_fails:
        return Compared(name, Verdict.SAFE, _parked(after, forth), place=after.place)
    if not old_fails:
        steps: tuple[str, ...] = ("Deploy the workers.", "Then deploy what sends it.")
        return Compared(name, Verdict.WORKERS_FIRST, tuple(why), steps, after.place)
    if not new_fails:
        steps = (
            "Deploy what sends it.",
            "Wait until no old message of it is queued, countdowns too.",
            "Then deploy the workers.",
        )
        return Compared(name, Verdict.PRODUCERS_FIRST, tuple(why), steps, after.place)
    return Compared(name, Verdict.BREAKS, tuple(why), _two_steps(before.shape, after.shape), after.place)


def _copes(worker: Declared, sent: Shape) -> bool:
    """Whether a worker's task has a policy, or an upgrade, for what was sent for another signature."""
    upgrades = worker.shape is not None and sent.version < worker.shape.version
    return worker.policy != STRICT or upgrades


def _parked(after: Declared, forth: str | None) -> tuple[str, ...]:
    if forth is None or after.policy != PARK:
        return ()
    return ("Queued messages that do not fit are parked: see autocelery parked list.",)


def _two_steps(before: Shape, after: Shape) -> tuple[str, ...]:
    old, new = before.signature.parameters, after.signature.parameters
    added = [name for name, each in new.items() if name not in old and each.default is each.empty]
    removed = [name for name in old if name not in new]
    first = "Deploy workers that take both"
    if added:
        first += f": give {' and '.join(added)} a default"
    if removed:
        first += f"{' and' if added else ':'} keep {' and '.join(removed)}, with a default"
    if not added and not removed:
        first += ": keep the order and the names, or write upgrade={...} for the old messages"
    return (f"{first}.", "Deploy what sends it, with the new arguments.",
            "When no old message is queued any more, deploy the signature as it is meant.")  # fmt: skip
