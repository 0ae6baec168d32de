"""With which packages a live call would run on each worker."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from packaging.utils import canonicalize_name

from autocelery._env.comparing import clashes, is_compatible, to_build
from autocelery._model import Pin
from autocelery._publish.problems import Problem

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected
    from autocelery._publish.inspecting import WorkerReport

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
#: What compiled code ends in.
_NATIVE = (".so", ".pyd", ".dylib")


@dataclass(frozen=True, slots=True)
class PlannedEnvironment:
    """What one worker has to do for the packages of a snapshot.

    ``state`` is ``satisfied`` (its own do), ``built`` (it is there), ``to be
    built`` (once: ``packages`` go before its own) or ``impossible``; then
    ``why``, and the ``mend``. ``packages`` are what it holds, or what differs. ``is_alone``:
    nothing of the worker's is in it. ``size`` is what the worker would download, in bytes, ``None``
    where it cannot say; ``source`` where from. ``unbuilt`` has no wheel for the worker.
    """

    hostname: str
    state: Literal["satisfied", "built", "to be built", "impossible"]
    packages: tuple[Pin, ...] = ()
    is_alone: bool = False
    size: int | None = None
    source: str = ""
    unbuilt: tuple[str, ...] = ()
    why: str = ""
    mend: str = ""


def to_ask(workers: Collection[WorkerReport], collected: Collected) -> list[str]:
    """Return the names of the workers whose own packages do not do, and which may build an environment."""
    if collected.manifest.lock is None:
        return []
    return [
        each.hostname
        for each in workers
        if each.autocelery
        and each.builds == "uv"
        and (collected.lock.is_alone or each.python != HERE or _lacking(each, collected))
    ]


def environment_on(
    worker: WorkerReport, collected: Collected, told: Mapping[str, Any] | None = None
) -> PlannedEnvironment:
    """Return what ``worker`` would do for the packages that ``collected`` needs.

    Args:
        worker: what it said of itself.
        collected: the tree.
        told: what it says of this very environment, if it was asked and has answered.
    """
    if told and told.get("state") in ("satisfied", "built", "to be built", "impossible"):
        return _as_told(worker.hostname, told)
    if collected.manifest.lock and (collected.lock.is_alone or worker.python != HERE):
        return _alone(worker, collected)
    lacking = _lacking(worker, collected)
    if not lacking and worker.python == HERE:
        return PlannedEnvironment(worker.hostname, "satisfied")
    is_possible = (
        worker.builds == "uv"
        and collected.manifest.lock
        and worker.python == HERE
        and not clashes(lacking, worker.needs)
    )
    return PlannedEnvironment(worker.hostname, "to be built" if is_possible else "impossible", lacking)


def problems_of(
    worker: WorkerReport, environment: PlannedEnvironment, collected: Collected
) -> Iterator[Problem]:
    """Yield what would fail on one worker for its packages, or for its Python."""
    if environment.state == "to be built" and environment.unbuilt:
        names = ", ".join(environment.unbuilt)
        what = f"{worker.hostname} builds {names} from source: there is no wheel for it there."
        yield Problem("warning", what, "A version with a wheel is there sooner, and needs no compiler.")
    if environment.state != "impossible":
        return
    if environment.why:
        yield Problem("error", f"{worker.hostname}: {environment.why}.", environment.mend)
        return
    if worker.python != HERE:
        what = f"{worker.hostname} runs Python {worker.python}, and this is {HERE}."
        yield Problem("error", what, f"Call from a Python {worker.python}, or route to a worker with {HERE}.")
        return
    yield from _of_packages(worker, environment, collected)


def _of_packages(
    worker: WorkerReport, environment: PlannedEnvironment, collected: Collected
) -> Iterator[Problem]:
    clashing = clashes(environment.packages, worker.needs)
    if clashing and worker.builds == "uv" and collected.manifest.lock:
        mend = 'Install a version here that both admit, or set environment = "own" or "worker" in [tool.autocelery].'
        yield Problem("error", f"{worker.hostname}: {'. '.join(clashing)}.", mend)
    elif worker.builds == "no uv" and collected.manifest.lock:
        wanted = ", ".join(f"{pin.name}=={pin.version}" for pin in environment.packages)
        what = f"{worker.hostname} has not {wanted}, and no uv to build an environment with."
        yield Problem("error", what, "Install it there: pip install 'autocelery[env]'")
    else:
        yield from _without_building(worker, collected)


def _as_told(hostname: str, told: Mapping[str, Any]) -> PlannedEnvironment:
    unbuilt = tuple(map(str, told.get("unbuilt", ())))
    state, why, mend = told["state"], str(told.get("why", "")), str(told.get("mend", ""))
    native = [each for each in unbuilt if _is_native_here(each.partition("==")[0])]
    if state == "to be built" and native and not told.get("compiler", True):
        state = "impossible"
        why = f"there is no wheel of {', '.join(native)} for it, and no compiler to build it with"
        mend = "Install one there (apt install build-essential), or call with a version that has a wheel."
    return PlannedEnvironment(
        hostname,
        state,
        tuple(Pin(str(name), str(version)) for name, version in told.get("packages", ())),
        bool(told.get("alone")),
        told.get("size"),
        str(told.get("source", "")),
        unbuilt,
        why,
        mend,
    )


def _alone(worker: WorkerReport, collected: Collected) -> PlannedEnvironment:
    """Return what is known of an environment that stands alone, where the worker does not say more."""
    pins = collected.lock.complete
    if worker.builds == "uv" and worker.python == HERE:
        return PlannedEnvironment(worker.hostname, "to be built", pins, is_alone=True)
    if worker.python != HERE:  # whether that Python is on its machine only it can say
        return PlannedEnvironment(worker.hostname, "impossible", pins, is_alone=True)
    why = "your project asks for an environment of its own, and it builds none"
    mend = 'Route to another worker, or set environment = "build" in [tool.autocelery].'
    if worker.builds == "no uv":
        why, mend = f"{why} without uv", "Install it there: pip install 'autocelery[env]'"
    return PlannedEnvironment(worker.hostname, "impossible", pins, is_alone=True, why=why, mend=mend)


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


def _lacking(worker: WorkerReport, collected: Collected) -> tuple[Pin, ...]:
    """Return what differs of the pins of the lock, or, without one, of the packages that are imported."""
    if collected.manifest.lock:
        return to_build(collected.lock.pins, dict(worker.packages), collected.lock.asked)
    imported = tuple(
        Pin(canonicalize_name(each.distribution), each.version) for each in collected.manifest.packages
    )
    return to_build(imported, dict(worker.packages))


def _is_native_here(name: str) -> bool:
    """Whether a package has compiled code here, so that its source has to be compiled there."""
    try:
        files = metadata.distribution(name).files or ()
    except metadata.PackageNotFoundError:
        return True
    return any(each.name.endswith(_NATIVE) for each in files)
