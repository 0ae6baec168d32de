"""With which packages a live call would run on each worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from packaging.utils import canonicalize_name

from autocelery._env.comparing import clashes, is_compatible, to_build
from autocelery._model import Pin
from autocelery._publish.problems import Problem

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected
    from autocelery._publish.inspecting import WorkerReport


@dataclass(frozen=True, slots=True)
class PlannedEnvironment:
    """What one worker has to do for the packages of a snapshot.

    ``state`` is ``satisfied`` (its own do), ``to be built`` (once: ``packages``
    go before its own) or ``impossible``; ``packages`` are then what differs.
    """

    hostname: str
    state: Literal["satisfied", "to be built", "impossible"]
    packages: tuple[Pin, ...] = ()


def environment_on(worker: WorkerReport, collected: Collected) -> PlannedEnvironment:
    """Return what ``worker`` would do for the packages that ``collected`` needs."""
    lacking = to_build(_needed(collected), dict(worker.packages))
    if not lacking:
        return PlannedEnvironment(worker.hostname, "satisfied")
    is_possible = worker.builds == "uv" and collected.manifest.lock and not clashes(lacking, worker.needs)
    return PlannedEnvironment(worker.hostname, "to be built" if is_possible else "impossible", lacking)


def problems_of(worker: WorkerReport, collected: Collected) -> Iterator[Problem]:
    """Yield what would fail on one worker for its packages."""
    environment = environment_on(worker, collected)
    if environment.state != "impossible":
        return
    clashing = clashes(environment.packages, worker.needs)
    if clashing and worker.builds == "uv" and collected.manifest.lock:
        mend = 'Install a version here that both admit, or set environment = "worker" in [tool.autocelery].'
        yield Problem("error", f"{worker.hostname}: {'. '.join(clashing)}.", mend)
    elif worker.builds == "no uv" and collected.manifest.lock:
        wanted = ", ".join(f"{pin.name}=={pin.version}" for pin in environment.packages)
        what = f"{worker.hostname} has not {wanted}, and no uv to build an environment with."
        yield Problem("error", what, "Install it there: pip install 'autocelery[env]'")
    else:
        yield from _without_building(worker, collected)


def _without_building(worker: WorkerReport, collected: Collected) -> Iterator[Problem]:
    """What is not there fails only the task that imports it, and perhaps none does."""
    installed = dict(worker.packages)
    for package in collected.manifest.packages:
        there = installed.get(canonicalize_name(package.distribution))
        wanted = f"{package.distribution}=={package.version}"
        if there is None:
            what = f"{worker.hostname} lacks {wanted}, which your code imports as {package.module}."
            yield Problem("warning", what, f"Install {wanted} there, if a task needs it.")
        elif not is_compatible(there, package.version):
            what = f"{worker.hostname} has {package.distribution} {there}, and this is {package.version}."
            yield Problem("error", what, f"Install {wanted} there, or {there} here.")


def _needed(collected: Collected) -> tuple[Pin, ...]:
    """Return the pins of the lock, or, without one, the packages that are imported."""
    return collected.pins or tuple(
        Pin(canonicalize_name(each.distribution), each.version) for each in collected.manifest.packages
    )
