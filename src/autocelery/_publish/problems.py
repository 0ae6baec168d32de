"""What would make a live call fail, and how to mend it."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autocelery._publish import withholding
from autocelery._publish.inspecting import WorkerReport
from autocelery._publish.stores import StoreAddress, address, is_new_folder, likeness
from autocelery._snapshot import tokens
from autocelery._snapshot.encoding import is_for_development

if TYPE_CHECKING:
    from autocelery._publish.collecting import Collected

_EXCLUDE = "leave it out: [tool.autocelery] exclude in pyproject.toml"
#: Bytes to send that are worth a word before.
MUCH = 256 * 2**20


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
    if not worker.runs_live_calls:
        yield of_live_task(worker)
        return
    yield from _of_trust(worker, key)
    yield from _of_store(worker, store)


def of_live_task(worker: WorkerReport) -> Problem:
    """Return why a worker runs no live calls at all, whatever they are."""
    if worker.autocelery is None:
        what = f"{worker.hostname} does not have the live task: it would reject live calls."
        return Problem("error", what, "Add Autocelery(app) to the deployed app and restart it once.")
    reason, _, mend = worker.refusal.partition(". ")
    return Problem("error", f"{worker.hostname} refuses live calls: {reason}.", mend)


def of_variables(names: Collection[str]) -> list[Problem]:
    """Return which of the variables that calls take along are not set here."""
    mend = "Set it where calls are sent from, or take it out of env."
    return [
        Problem("error", f"The variable {name} is named in env and not set here.", mend)
        for name in sorted(names)
        if name not in os.environ
    ]


def of_worker_key(worker: WorkerReport, names: Collection[str], known: Collection[str]) -> list[Problem]:
    """Return what keeps a worker from reading the variables ``names``, encrypted to the keys ``known``."""
    if not names or worker.problem or worker.worker_key in known:
        return []
    listed, key = ", ".join(sorted(names)), worker.worker_key or "none"
    what = f"{worker.hostname} cannot read {listed}: they are not encrypted to its key ({key})."
    mend = "There: autocelery keys export --worker; here: autocelery keys trust <text>"
    return [Problem("error", what, mend)]


def of_tree(collected: Collected, top: Path) -> list[Problem]:
    """Return what is wrong with the files themselves: Python that is none, secrets that are left out."""
    withheld = [each for each in withholding.withheld(collected) if not _is_of_a_test(each[0])]
    secrets = [_of_withheld(path, reason) for path, reason in withheld]
    files = sorted(path for tree in collected.trees for path in tree.sources.values() if path.suffix == ".py")
    assigned = [
        each for path in files if not _is_of_a_test(_shown(path, top)) for each in _of_assignments(path, top)
    ]
    return [*(found for path in files if (found := _of_syntax(path, top))), *secrets, *assigned]


def _of_withheld(path: str, reason: str) -> Problem:
    if withholding.is_needed(path, reason):
        what = f"{path} seems to hold {reason}, and tasks may need its code: live calls are refused."
        return Problem("error", what, withholding.mend_for(path))
    return Problem("warning", f"{path} looks like a secret ({reason}) and is not shipped.", withholding.MEND)


def _of_assignments(path: Path, top: Path) -> Iterator[Problem]:
    """Yield what in code that is shipped looks like a secret, though no rule knows it."""
    try:
        found = tokens.assigned_in(path.read_bytes())
    except OSError:  # gone since
        return
    for line, name in found:
        what = f"{_shown(path, top)}:{line} is shipped, and the value of {name} looks like a secret."
        yield Problem(
            "warning", what, "Read it with os.environ, and name the variable in [tool.autocelery] env."
        )


def of_amount(size: int) -> list[Problem]:
    """Return a warning if very many bytes are to be sent."""
    if size <= MUCH:
        return []
    what = f"The first call sends {size / 2**20:,.0f} MB, and the blob store has to hold them."
    return [Problem("warning", what, f"If tasks do not need all of it, {_EXCLUDE}")]


def _shown(path: Path, top: Path) -> str:
    return str(path.relative_to(top) if path.is_relative_to(top) else path)


def _is_of_a_test(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return is_for_development(folder, name)


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
