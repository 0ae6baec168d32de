"""The header ``autocelery`` of a live call: a Celery protocol 2 message for the task ``autocelery.live``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from celery import Celery
from celery.app.task import Task

LIVE_TASK: Final = "autocelery.live"
#: What the names of tasks begin with that come with Celery and autocelery: the others are the project's.
BUILT_IN: Final = ("celery.", "autocelery.")
HEADER: Final = "autocelery"
HEADER_VERSION: Final = 1
#: The field of the header with the channel that wants the call's output.
OUTPUT: Final = "output"
#: The field with the digest of the envelope that holds the call's environment variables.
VARIABLES: Final = "variables"

#: What the worker's main process reads from the task of a message, besides the limits that
#: Celery sends itself. Each is sent only where it differs from Celery's default.
MAIN_PROCESS_OPTIONS: Final[Mapping[str, bool]] = {
    "acks_late": False,
    "acks_on_failure": True,
    "acks_on_timeout": True,
    "acks_on_failure_or_timeout": True,
    "reject_on_worker_lost": False,
    "retry_on_worker_lost": False,
    "store_errors_even_if_ignored": False,
    "send_events": True,
}
#: The same, read only where ``retry_on_worker_lost`` is on.
RETRY_OPTIONS: Final = ("max_retries", "default_retry_delay")


class Target(NamedTuple):
    """What a live call runs: a snapshot, as the key signed it, with the variables in an envelope."""

    snapshot: str
    key: str
    variables: str | None = None


def header_for(app: Celery, name: str, target: Target, task: Task | None = None) -> dict[str, Any]:
    """Return the ``autocelery`` header of a live call of the task ``name``, which may be in no registry."""
    header: dict[str, Any] = {
        "v": HEADER_VERSION,
        "snapshot": target.snapshot,
        "key": target.key,
        "task": name,
    }
    if target.variables is not None:
        header[VARIABLES] = target.variables
    task = task or app._tasks.get(name)
    if task is None:
        return header
    module = type(task).__module__
    if not name.startswith((f"{module}.", "celery.")) and module != "__main__":
        header["module"] = module
    options: dict[str, Any] = {
        option: bool(value)
        for option, default in MAIN_PROCESS_OPTIONS.items()
        if (value := getattr(task, option, None)) is not None and bool(value) != default
    }
    if options.get("retry_on_worker_lost"):
        options |= {option: getattr(task, option) for option in RETRY_OPTIONS}
    if options:
        header["options"] = options
    return header


def target_of(header: Mapping[str, Any]) -> Target:
    """Return what the call with this header runs."""
    return Target(header["snapshot"], header["key"], header.get(VARIABLES))


def exec_options(task: Task) -> dict[str, Any]:
    """Return the options that ``task`` itself brings to each of its calls."""
    options = task._get_exec_options() or {}
    # ignore_result is none of them, but Celery 5.4 leaves there what an earlier call had.
    return {name: value for name, value in options.items() if value is not None and name != "ignore_result"}
