"""What the workers are, and what would be shipped to them: asked before anything is sent."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery._publish.calling import broker_gone
from autocelery.errors import NoWorkers, StoreError, WorkerWithoutAutocelery

if TYPE_CHECKING:
    from autocelery._model import Package
    from autocelery._publish.facade import Autocelery
    from autocelery._publish.shipping import Collected

_REPORT = "autocelery"
#: How many of the largest files a plan names.
LARGEST = 10


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker; ``autocelery`` is its version there, ``None`` where it has none."""

    hostname: str
    autocelery: str | None = None
    python: str = ""
    celery: str = ""
    pool: str = ""
    packages: tuple[tuple[str, str], ...] = ()
    trusted_keys: tuple[str, ...] = ()
    store: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What would go wrong, and what to do about it; ``level`` is ``error`` or ``warning``."""

    level: str
    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a live call would ship now; sizes are in bytes."""

    snapshot: str
    top: str
    files: int
    size: int
    largest: tuple[tuple[str, int], ...]
    blobs_to_send: int
    bytes_to_send: int
    withheld: tuple[str, ...]
    packages: tuple[Package, ...]
    workers: tuple[WorkerReport, ...]
    problems: tuple[Problem, ...]


def workers(app: Celery, timeout: float = 1.0) -> list[WorkerReport]:
    """Return every worker that answers within ``timeout`` seconds, with or without autocelery.

    Raises:
        BrokerUnavailable: the broker cannot be reached.
    """
    with ThreadPoolExecutor(2) as pool:
        pings = pool.submit(_ask, app, "ping", timeout)
        reports = pool.submit(_ask, app, _REPORT, timeout)
        alive, told = pings.result(), reports.result()
    return [_report(name, told.get(name)) for name in sorted({*alive, *told})]


def require_worker(app: Celery, timeout: float = 1.0) -> None:
    """Return as soon as one worker with autocelery answers.

    Raises:
        NoWorkers: no worker answers at all.
        WorkerWithoutAutocelery: those that answer do not have the live task.
        BrokerUnavailable: the broker cannot be reached.
    """
    if any(_REPORT in told for told in _ask(app, _REPORT, timeout, limit=1).values()):
        return  # a worker without it answers too, with an error
    found = workers(app, timeout)
    if not found:
        raise NoWorkers(
            "No worker answers on this broker. Start one: celery -A <app> worker. If it runs, check that it "
            "uses the same broker and that remote control is on (worker_enable_remote_control)."
        )
    lacking = [each.hostname for each in found if each.autocelery is None]
    if lacking:
        raise _without(lacking)


def plan(auto: Autocelery, timeout: float = 1.0) -> Plan:
    """Return what a live call would ship now, and what would fail; nothing is sent.

    Raises:
        SnapshotError: the tree cannot be shipped at all.
        BrokerUnavailable: the broker cannot be reached.
    """
    shipper = auto.shipper
    collected = shipper.collect()
    problems: list[Problem] = []
    try:
        lacking = shipper.lacking(collected)
    except StoreError as exc:
        lacking = []
        problems.append(Problem("error", exc.message, "Start the blob store, or set AUTOCELERY_STORE."))
    key = shipper.key_id()  # made now if it is the first: before the workers are asked whom they trust
    found = workers(auto.app, timeout)
    problems += _of_workers(found, collected, key) + _of_tree(collected)
    sizes = _sizes(collected)
    return Plan(
        snapshot=collected.id,
        top=str(shipper.top),
        files=sum(tree.files for tree in collected.trees),
        size=sum(tree.size for tree in collected.trees),
        largest=tuple(sorted(sizes, key=lambda each: -each[1])[:LARGEST]),
        blobs_to_send=len(lacking),
        bytes_to_send=sum(len(raw) for name in lacking if (raw := collected.read(name)) is not None),
        withheld=tuple(path for tree in collected.trees for path in tree.withheld),
        packages=collected.manifest.packages,
        workers=tuple(found),
        problems=tuple(problems),
    )


def _of_workers(found: list[WorkerReport], collected: Collected, key: str) -> list[Problem]:
    if not found:
        return [Problem("error", "No worker answers on this broker.", "Start one: celery -A <app> worker")]
    problems = []
    for worker in found:
        if worker.autocelery is None:
            what = f"{worker.hostname} does not have the live task: it would reject live calls."
            problems.append(
                Problem("error", what, "Add Autocelery(app) to the deployed app and restart it once.")
            )
            continue
        problems += _of_worker(worker, collected, key)
    return problems


def _of_worker(worker: WorkerReport, collected: Collected, key: str) -> list[Problem]:
    problems = []
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if worker.problem:
        problems.append(Problem("error", f"{worker.hostname}: {worker.problem}", "Mend it on the worker."))
    elif key not in worker.trusted_keys:
        what = f"{worker.hostname} does not trust your key {key}."
        problems.append(
            Problem("error", what, "Here: autocelery keys export; there: autocelery keys trust <text>")
        )
    if worker.python != here:
        what = f"{worker.hostname} runs Python {worker.python}, and this is {here}."
        problems.append(
            Problem("error", what, f"Call from a Python {worker.python}, or route to a worker with {here}.")
        )
    installed = {_canonical(name): version for name, version in worker.packages}
    for package in collected.manifest.packages:
        there = installed.get(_canonical(package.distribution))
        wanted = f"{package.distribution}=={package.version}"
        if there is None:
            what = f"{worker.hostname} lacks {wanted}, which your code imports as {package.module}."
            problems.append(Problem("warning", what, f"Install {wanted} there, if a task needs it."))
        elif there.split(".")[0] != package.version.split(".")[0]:
            what = f"{worker.hostname} has {package.distribution} {there}, and this is {package.version}."
            problems.append(Problem("error", what, f"Install {wanted} there, or {there} here."))
    return problems


def _of_tree(collected: Collected) -> list[Problem]:
    withheld = [path for tree in collected.trees for path in tree.withheld]
    mend = "If a task needs it, name it in [tool.autocelery] include in pyproject.toml."
    return [Problem("warning", f"{path} looks like a secret and is not shipped.", mend) for path in withheld]


def _sizes(collected: Collected) -> list[tuple[str, int]]:
    return [
        (str(path), path.stat().st_size)
        for tree in collected.trees
        for path in tree.sources.values()
        if path.exists()
    ]


def _report(hostname: str, told: dict[str, Any] | None) -> WorkerReport:
    if not told or "autocelery" not in told:
        return WorkerReport(hostname)
    return WorkerReport(
        hostname=hostname,
        autocelery=told["autocelery"],
        python=told["python"],
        celery=told["celery"],
        pool=told["pool"],
        packages=tuple(sorted(told["packages"].items())),
        trusted_keys=tuple(told["trusted_keys"]),
        store=told["store"],
        problem=told["problem"],
    )


def _ask(app: Celery, command: str, timeout: float, limit: int | None = None) -> dict[str, Any]:
    try:
        replies = app.control.broadcast(command, reply=True, timeout=timeout, limit=limit) or []
    except (OperationalError, OSError) as exc:
        raise broker_gone(app, exc) from exc
    return {name: told for reply in replies for name, told in reply.items()}


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _without(hostnames: list[str]) -> WorkerWithoutAutocelery:
    return WorkerWithoutAutocelery(
        f"{', '.join(hostnames)} would reject live calls: autocelery is not in the deployed app. "
        "Add `auto = Autocelery(app)` to it, install autocelery there, and restart the worker once."
    )
