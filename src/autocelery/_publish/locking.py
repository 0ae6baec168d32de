"""What is to be said of a lock before it is sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autocelery._publish.problems import Problem

if TYPE_CHECKING:
    from autocelery._publish.inspecting import WorkerReport
    from autocelery._publish.needing import Needed

#: How many packages a sentence names.
_NAMED = 8


@dataclass(frozen=True, slots=True)
class PlannedLock:
    """Where the versions are from, ``installed`` or the name of a file, and how many packages there are."""

    source: str
    pins: int


def problems_of(needed: Needed, workers: Collection[WorkerReport]) -> Iterator[Problem]:
    """Yield where the lock and what is here or on the workers go apart."""
    if needed.several:
        files = " and ".join(needed.several)
        what = f"{files}: which one counts is not said, so none does."
        yield Problem("warning", what, f'Say it: lock = "{needed.several[0]}" in [tool.autocelery].')
    if needed.mends is not None and needed.path is not None:
        yield from _of_here(needed, needed.path.name, needed.mends.install)
    for worker in workers if needed.elsewhere else ():
        there = dict(worker.packages)
        told = [f"{each.name} ({each.place})" for each in needed.elsewhere if each.name not in there]
        if told and worker.autocelery:
            what = f"{worker.hostname} lacks what is from no index, and does not build it: {_listed(told)}."
            mend = "Install it there, if a task needs it; or edit it here: pip install -e, and it travels as code."
            yield Problem("warning", what, mend)


def _of_here(needed: Needed, file: str, install: str) -> Iterator[Problem]:
    if needed.differing:
        told = [f"{name} {locked} ({here} here)" for name, locked, here in needed.differing]
        what = f"Workers run what {file} says, and other versions are installed here: {_listed(told)}."
        yield Problem("warning", what, f"Install those: {install}")
    if needed.unfit:
        told = [f"{asked}, and {here}" for asked, here in needed.unfit]
        what = f"Left out, for {file} does not admit what is installed: {_listed(told)}."
        yield Problem("warning", what, f"If a task needs it: {install}")


def _listed(told: list[str]) -> str:
    return "; ".join(told[:_NAMED]) + (f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else "")
