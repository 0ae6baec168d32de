"""What would make a live call fail, and how to mend it."""

from __future__ import annotations

import platform
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autocelery._publish.inspecting import WorkerReport
from autocelery._publish.stores import StoreAddress, address, is_new_folder, likeness

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected

_EXCLUDE = "leave it out: [tool.autocelery] exclude in pyproject.toml"


@dataclass(frozen=True, slots=True)
class Problem:
    """What would go wrong, and what to do about it; ``level`` is ``error`` or ``warning``."""

    level: str
    what: str
    mend: str


def of_worker(worker: WorkerReport, key: str, store: StoreAddress | None) -> Iterator[Problem]:
    """Yield what would fail on one worker, whatever packages the code needs.

    Args:
        worker: what it said of itself.
        key: the id of the key that would sign it.
        store: where it would be sent to; ``None`` where there is none.
    """
    if worker.autocelery is None:
        what = f"{worker.hostname} does not have the live task: it would reject live calls."
        yield Problem("error", what, "Add Autocelery(app) to the deployed app and restart it once.")
        return
    yield from _of_trust(worker, key)
    yield from _of_python(worker)
    yield from _of_store(worker, store)


def of_tree(collected: Collected, top: Path) -> list[Problem]:
    """Return what is wrong with the files themselves: Python that is none, secrets that are left out."""
    withheld = [path for tree in collected.trees for path in tree.withheld]
    mend = "If a task needs it, name it in [tool.autocelery] include in pyproject.toml."
    secrets = [
        Problem("warning", f"{path} looks like a secret and is not shipped.", mend) for path in withheld
    ]
    files = sorted(path for tree in collected.trees for path in tree.sources.values() if path.suffix == ".py")
    return [*(found for path in files if (found := _of_syntax(path, top))), *secrets]


def of_new_folder(store: StoreAddress) -> list[Problem]:
    """Return a warning if the store is a folder that is not there yet: it may be a mistyped one."""
    if not is_new_folder(store):
        return []
    what = f"The blob store is new: {store} does not exist, and the first live call makes it."
    mend = "If it should be there, correct AUTOCELERY_STORE: workers would look elsewhere."
    return [Problem("warning", what, mend)]


def _of_trust(worker: WorkerReport, key: str) -> Iterator[Problem]:
    if worker.problem:
        yield Problem("error", f"{worker.hostname}: {worker.problem}", "Mend it on the worker.")
    elif key not in worker.trusted_keys:
        what = f"{worker.hostname} does not trust your key {key}."
        yield Problem("error", what, "Here: autocelery keys export; there: autocelery keys trust <text>")


def _of_python(worker: WorkerReport) -> Iterator[Problem]:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if worker.python != here:
        what = f"{worker.hostname} runs Python {worker.python}, and this is {here}."
        yield Problem("error", what, f"Call from a Python {worker.python}, or route to a worker with {here}.")


def _of_store(worker: WorkerReport, here: StoreAddress | None) -> Iterator[Problem]:
    """Compare where code is sent to with where the worker looks for it."""
    name = worker.hostname
    if worker.store_problem:
        mend = "Set AUTOCELERY_STORE there to the store that is used here, and restart it."
        yield Problem("error", f"{name} has no blob store to fetch code from: {worker.store_problem}", mend)
        return
    if not worker.store or here is None:
        return
    there = address(worker.store)
    same_machine = worker.node in ("", platform.node())
    found = likeness(here, there, same_machine)
    if found == "different":
        what = f"{name} would look for code in {there}, and it is sent to {here}."
        yield Problem(
            "error", what, "Set AUTOCELERY_STORE to one store here and there, and restart the worker."
        )
    elif found == "unclear":
        other = f"{there} of its own machine, {worker.node}" if not same_machine and there.is_local else there
        what = f"{name} would look for code in {other}, and it is sent to {here}."
        mend = "If that is not the same store, live calls fail: set AUTOCELERY_STORE to one that both reach."
        yield Problem("warning", what, mend)


def _of_syntax(path: Path, top: Path) -> Problem | None:
    """Return why a file cannot be imported; one that no import statement can name is not meant to be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as exc:
        shown = path.relative_to(top) if path.is_relative_to(top) else path
        is_module = all(part.isidentifier() for part in shown.with_suffix("").parts if part != "/")
        line = f":{exc.lineno}" if isinstance(exc, SyntaxError) and exc.lineno else ""
        reason = exc.msg if isinstance(exc, SyntaxError) else str(exc)
        what = f"{shown}{line} is not valid Python: {reason}."
        return Problem(
            "error" if is_module else "warning", what, f"Mend it, or, if nothing imports it, {_EXCLUDE}"
        )
    except (OSError, RecursionError, MemoryError):  # gone since, or only too deep for us
        return None
    return None
