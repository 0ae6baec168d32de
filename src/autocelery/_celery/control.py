"""Remote control commands that a worker with autocelery answers, beside Celery's own."""

from __future__ import annotations

import importlib.metadata
import sys
from functools import cache
from typing import Any

import celery
from celery.worker.control import control_command, inspect_command

from autocelery import _config
from autocelery._celery import serving
from autocelery._signing import keys
from autocelery.errors import AgentUnavailable, AutoceleryError

#: The inspect command that asks a worker what it can run, and the control command that revokes a snapshot.
REPORT = "autocelery"
REVOKE = "autocelery_revoke"


@inspect_command(name=REPORT, default_timeout=1.0)  # type: ignore[untyped-decorator]
def report(state: Any, **_: Any) -> dict[str, Any]:
    """Tell what this worker runs live calls with."""
    pool = type(state.consumer.pool).__module__.rpartition(".")[2]
    try:
        trusted, problem = sorted(keys.trusted_keys(_config.home())), ""
    except AutoceleryError as exc:
        trusted, problem = [], exc.message
    return {
        "autocelery": importlib.metadata.version("autocelery"),
        "celery": celery.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "pool": pool,
        "trusted_keys": trusted,
        "packages": _packages(),
        "store": serving.store_shown(state.app),
        "problem": problem,
    }


@inspect_command(name="autocelery_agent", default_timeout=5.0)  # type: ignore[untyped-decorator]
def agent(state: Any, **_: Any) -> dict[str, Any]:
    """Tell which processes the agent of this worker has: its own, its zygote's, its hosts'."""
    try:
        return serving.agent_status()
    except AgentUnavailable as exc:
        return {"error": exc.message}


@control_command(name=REVOKE, args=[("snapshot", str), ("envelope", str)])  # type: ignore[untyped-decorator]
def revoke(state: Any, snapshot: str, envelope: str, **_: Any) -> dict[str, Any]:
    """End the hosts of a snapshot and run it no more, if a trusted key says so."""
    try:
        return serving.tell_agent({"op": "revoke", "snapshot": snapshot, "envelope": envelope})
    except AgentUnavailable as exc:
        return {"error": exc.message}


@cache
def _packages() -> dict[str, str]:
    found = importlib.metadata.distributions()
    return {each.metadata["Name"]: each.version for each in found if each.metadata["Name"]}
