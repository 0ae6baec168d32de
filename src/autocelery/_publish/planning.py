"""What a live call would ship now, and what would fail: found out without sending anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autocelery import _config
from autocelery._model import Package
from autocelery._publish import (
    environments,
    import_errors,
    inspecting,
    locking,
    naming,
    problems,
    stores,
    withholding,
)
from autocelery._publish.checks.looking import look
from autocelery._publish.environments import PlannedEnvironment
from autocelery._publish.inspecting import WorkerReport
from autocelery._publish.locking import PlannedLock
from autocelery._publish.problems import Problem
from autocelery._signing import keys, statement, worker_keys
from autocelery.errors import BrokerUnavailable, ConfigurationError, SnapshotRevoked, StoreError

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected
    from autocelery._publish.facade import Autocelery

#: How many of the largest files a plan names.
LARGEST = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What a live call would ship now; sizes are in bytes.

    ``store`` is the blob store's address without its password, empty where
    there is none. ``withheld`` are the files that look like secrets, ``reasons`` why.
    ``variables`` are the names of those that go with a call, ``worker_keys`` the ids of
    the keys that they are encrypted to. Of the ``problems``, errors come first.
    """

    snapshot: str
    top: str
    files: int
    size: int
    largest: tuple[tuple[str, int], ...]
    store: str
    blobs_to_send: int
    bytes_to_send: int
    withheld: tuple[str, ...]
    reasons: dict[str, str]
    variables: tuple[str, ...]
    worker_keys: tuple[str, ...]
    packages: tuple[Package, ...]
    lock: PlannedLock
    environments: tuple[PlannedEnvironment, ...]
    workers: tuple[WorkerReport, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Store:
    """What the blob store says of a snapshot; one that does not answer lacks everything."""

    lacking: list[str]
    url: str
    problems: list[Problem]

    @property
    def address(self) -> stores.StoreAddress | None:
        return stores.address(self.url) if self.url else None


def plan(auto: Autocelery, timeout: float = 1.0, env: Collection[str] = ()) -> Plan:
    """Return what a live call would ship now, and what would fail; nothing is sent.

    Args:
        auto: the app's.
        timeout: seconds that workers have to answer.
        env: names of variables that calls take along, beside those that the project names.

    Raises:
        SnapshotError: the tree cannot be shipped at all.
        ConfigurationError: a name or a key cannot be used.
    """
    shipper = auto.shipper
    in_tasks = of_tasks(auto)  # first: what is imported from outside of the tree is shipped too
    collected = shipper.collect()
    names = frozenset(_config.variable_names(env)).union(shipper.env())
    readers = tuple(each.id for each in worker_keys.recipients(_config.home())) if names else ()
    key = shipper.key_id()  # made now if it is the first: before the workers are asked whom they trust
    looked = look(auto.app, collected, names)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(inspecting.workers, auto.app, timeout, tuple(looked.variables))
        store = _asked_store(auto, collected)
        in_tree = [*problems.of_tree(collected, shipper.top), *looked.problems()]
    found, unheard = _answered(asked, naming.options_of(auto.app))
    its_own = _environments(auto, found, collected)
    of_workers = [
        each
        for worker in found
        for each in (
            *problems.of_worker(worker, key, store.address),
            *_of_environment(worker, its_own.get(worker.hostname), collected),
            *(problems.of_worker_key(worker, names, readers) if worker.runs_live_calls else ()),
        )
    ]
    of_lock = locking.problems_of(collected.needed, found)
    of_fleet = looked.of_fleet(found)
    to_send = sum(map(collected.size_of, store.lacking))
    of_caller = [*problems.of_variables(names), *store.problems, *unheard]
    told = [*of_caller, *of_workers, *of_lock, *of_fleet, *in_tasks, *in_tree, *problems.of_amount(to_send)]
    withheld = list(withholding.withheld(collected))
    return Plan(
        snapshot=collected.id,
        top=str(shipper.top),
        files=sum(tree.files for tree in collected.trees),
        size=sum(tree.size for tree in collected.trees),
        largest=tuple(sorted(_sizes(collected), key=lambda each: -each[1])[:LARGEST]),
        store=store.url,
        blobs_to_send=len(store.lacking),
        bytes_to_send=to_send,
        withheld=tuple(path for path, _ in withheld),
        reasons=dict(withheld),
        variables=tuple(sorted(names)),
        worker_keys=readers,
        packages=collected.manifest.packages,
        lock=PlannedLock(collected.lock.source, len(collected.lock.pins)),
        environments=tuple(its_own.values()),
        workers=tuple(found),
        problems=tuple(sorted(told, key=lambda each: each.level)),  # "error" before "warning"
    )


def _environments(
    auto: Autocelery, found: list[WorkerReport], collected: Collected
) -> dict[str, PlannedEnvironment]:
    """Return the environment on each worker; those that would build one are asked what that takes."""
    able = [each for each in found if each.runs_live_calls]
    told = inspecting.environments(
        auto.app,
        environments.to_ask(able, collected),
        collected.extras.get(collected.manifest.lock or "", b"").decode(),
        collected.manifest.python,
    )
    return {
        each.hostname: environments.environment_on(each, collected, told.get(each.hostname)) for each in able
    }


def _of_environment(
    worker: WorkerReport, environment: PlannedEnvironment | None, collected: Collected
) -> Iterator[Problem]:
    if environment is not None:
        yield from environments.problems_of(worker, environment, collected)


def of_tasks(auto: Autocelery) -> list[Problem]:
    """Import the modules in which the app looks for tasks, as a host does, and return why that fails.

    Python that is none is left to `problems.of_tree`, which looks at every file.
    """
    try:
        auto.app.loader.import_default_modules()
    except SyntaxError as exc:
        if exc.filename and Path(exc.filename).is_relative_to(auto.shipper.top):
            return []
        error: BaseException = exc
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a user's module may raise anything
        error = exc
    else:
        return []
    what = import_errors.told("the modules with the app's tasks", error)
    return [Problem("error", what, "Mend it: a worker's host imports them too.")]


def _answered(asked: Future[list[WorkerReport]], options: str) -> tuple[list[WorkerReport], list[Problem]]:
    """Return the workers that answer, and what it means if none does."""
    try:
        found = asked.result()
    except BrokerUnavailable as exc:
        mend = "Start it, or name another one with -b, before the command."
        return [], [Problem("error", exc.message, mend)]
    nobody = Problem("error", "No worker answers on this broker.", f"Start one: celery {options} worker")
    return found, [] if found else [nobody]


def _asked_store(auto: Autocelery, collected: Collected) -> _Store:
    shipper = auto.shipper
    try:
        url = shipper.store.url
    except ConfigurationError as exc:
        problem = Problem("error", exc.message, "Set AUTOCELERY_STORE here and on the workers.")
        return _Store(collected.everything(), "", [problem])
    found = problems.of_new_folder(stores.address(url))
    try:
        lacking = shipper.lacking(collected)
        found += _revoked(auto, collected)
    except StoreError as exc:
        mend = "Start the blob store, or set AUTOCELERY_STORE."
        return _Store(collected.everything(), url, [Problem("error", exc.message, mend)])
    return _Store(lacking, url, found)


def _revoked(auto: Autocelery, collected: Collected) -> list[Problem]:
    """Look for a revocation of just this tree; one by a key that is not trusted here has no effect."""
    name = f"{collected.id}.revoked"
    envelope = auto.shipper.store.get([name]).get(name)
    try:
        if envelope is not None:
            statement.check_revocation(envelope, collected.id, keys.trusted_keys(_config.home()))
    except SnapshotRevoked as exc:
        what = exc.message.partition(". ")[0]
        mend = "Change something in the tree, a comment for one: that makes another snapshot."
        return [Problem("error", f"{what}: workers refuse the tree as it is.", mend)]
    return []


def _sizes(collected: Collected) -> list[tuple[str, int]]:
    return [
        (str(path), path.stat().st_size)
        for tree in collected.trees
        for path in tree.sources.values()
        if path.exists()
    ]
