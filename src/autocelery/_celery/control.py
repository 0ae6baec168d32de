"""Remote control commands that a worker with autocelery answers, beside Celery's own."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import celery
from celery import Celery
from celery.worker.control import control_command, inspect_command

from autocelery import _config
from autocelery._blobs import open_store, store_url_for
from autocelery._celery import serving, signatures
from autocelery._env.comparing import Need, installed_here, needs_of_celery
from autocelery._env.installing import uv_here
from autocelery._signing import keys, worker_keys
from autocelery.errors import AgentUnavailable, AutoceleryError
from autocelery_host.header import BUILT_IN
from autocelery_host.stamping import shape_of_task

#: The inspect command that asks a worker what it can run, and the control command that revokes a snapshot.
REPORT = "autocelery"
REVOKE = "autocelery_revoke"
#: The inspect command that asks which environment a lock gets there.
ENVIRONMENT = "autocelery_environment"
#: The inspect command that asks for the signatures of its tasks.
SIGNATURES = "autocelery_signatures"


@inspect_command(name=REPORT, default_timeout=1.0)  # type: ignore[untyped-decorator]
def report(state: Any, variables: Sequence[str] = (), **_: Any) -> dict[str, Any]:
    """Tell what this worker runs live calls with, and which of ``variables`` its environment lacks."""
    pool = type(state.consumer.pool).__module__.rpartition(".")[2]
    store, store_problem = _store(state.app)
    worker_key, trusted, problem = "", [], ""
    try:
        trusted = sorted(keys.trusted_keys(_config.home()))
        worker_key = worker_keys.own_key(_config.home()).id
    except AutoceleryError as exc:
        problem = exc.message
    return {
        "autocelery": importlib.metadata.version("autocelery"),
        "celery": celery.__version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "pool": pool,
        "refusal": serving.refusal(),
        "trusted_keys": trusted,
        "worker_key": worker_key,
        "packages": _packages(),
        "builds": builder(),
        "needs": [[need.by, need.name, need.specifier] for need in _needs()],
        "node": platform.node(),
        "queues": _queues(state.consumer),
        "lacks_variables": [name for name in variables if name not in os.environ],
        "store": store,
        "store_problem": store_problem,
        "problem": problem,
    }


@inspect_command(name=SIGNATURES)  # type: ignore[untyped-decorator]
def told_signatures(state: Any, **_: Any) -> dict[str, list[str]]:
    """Tell the shape and the policy of each task of this worker."""
    return {
        name: [str(shape_of_task(task) or ""), signatures.policy_of(task)]
        for name, task in state.app.tasks.items()
        if not name.startswith(BUILT_IN)
    }


@inspect_command(name="autocelery_agent", default_timeout=5.0)  # type: ignore[untyped-decorator]
def agent(state: Any, **_: Any) -> dict[str, Any]:
    """Tell which processes the agent of this worker has: its own, its zygote's, its hosts'."""
    try:
        return serving.agent_status()
    except AgentUnavailable as exc:
        return {"error": exc.message}


@inspect_command(  # type: ignore[untyped-decorator]
    name=ENVIRONMENT, args=[("lock", str), ("python", str)], default_timeout=5.0
)
def environment(state: Any, lock: str, python: str, **_: Any) -> dict[str, Any]:
    """Tell which environment a snapshot with that lock gets; ``pending`` while the agent finds out."""
    try:
        return serving.tell_agent({"op": "environment", "lock": lock, "python": python}, patience=1.0)
    except AgentUnavailable as exc:
        return {"error": exc.message}


@control_command(name=REVOKE, args=[("snapshot", str), ("envelope", str)])  # type: ignore[untyped-decorator]
def revoke(state: Any, snapshot: str, envelope: str, **_: Any) -> dict[str, Any]:
    """End the hosts of a snapshot and run it no more, if a trusted key says so."""
    try:
        return serving.tell_agent({"op": "revoke", "snapshot": snapshot, "envelope": envelope})
    except AgentUnavailable as exc:
        return {"error": exc.message}


def _queues(consumer: Any) -> list[str]:
    """Return the queues that are listened to now; none before the worker has connected."""
    return [queue.name for queue in consumer.task_consumer.queues] if consumer.task_consumer else []


def _store(app: Celery) -> tuple[str, str]:
    """Return the address of the blob store, or why there is none; nothing connects to it while heartbeats wait."""
    try:
        store = open_store(store_url_for(app))
    except AutoceleryError as exc:
        return "", exc.message
    store.close()
    return store.url, ""


def builder() -> str:
    """Return what this worker builds environments with: ``uv``, ``no uv``, or ``never``."""
    if not _config.builds_environments():
        return "never"
    return "uv" if uv_here() else "no uv"


@cache
def _needs() -> tuple[Need, ...]:
    return needs_of_celery()


@cache
def _packages() -> dict[str, str]:
    return installed_here()
