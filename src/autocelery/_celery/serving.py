"""A worker's agent, and the hosts that this process has on lease from it."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from celery import Celery

from autocelery import _config
from autocelery._blobs import store_url_for
from autocelery._hosting.lease import AGENT_PATIENCE, HostPool, ask
from autocelery._hosting.starting import AgentProcess
from autocelery._hosting.terms import AgentTerms
from autocelery.errors import AgentUnavailable, AutoceleryError, ConfigurationError
from autocelery_host import importing
from autocelery_host.order import WorkerTerms

logger = logging.getLogger(__name__)

#: Names the agent's socket to pool processes that are spawned, not forked.
ADDRESS_VARIABLE = "AUTOCELERY_AGENT"

_NOT_UNDER_EVENTLET = (
    "this worker has the eventlet pool, which its maintainers have deprecated, and which does not wait for other "
    "processes as Python does. Start the worker with another pool: `celery worker -P gevent`, or threads, "
    "prefork or solo."
)

#: What a host takes over from its worker: where messages and results go, and how to get there.
CONNECTION_SETTINGS = (
    "broker_url",
    "broker_read_url",
    "broker_write_url",
    "broker_transport",
    "broker_transport_options",
    "broker_use_ssl",
    "broker_login_method",
    "broker_connection_timeout",
    "broker_heartbeat",
    "broker_native_delayed_delivery_queue_type",
    "result_backend",
    "result_backend_transport_options",
    "result_exchange",
    "result_exchange_type",
    "result_persistent",
    "redis_backend_use_ssl",
    "redis_username",
    "redis_password",
    "redis_socket_timeout",
    "redis_socket_connect_timeout",
    "redis_socket_keepalive",
    "redis_max_connections",
    "database_engine_options",
    "database_short_lived_sessions",
    "database_table_schemas",
    "database_table_names",
    "database_create_tables_at_setup",
    "mongodb_backend_settings",
    "cache_backend",
    "cache_backend_options",
    "control_exchange",
    "event_exchange",
    "event_queue_prefix",
)

_agent: AgentProcess | None = None
_hosts: HostPool | None = None
_refusal = ""
_making = threading.Lock()


def hosts() -> HostPool:
    """Return this process's pool of leased hosts.

    Raises:
        ConfigurationError: its worker refuses live calls, since it has a pool that cannot run them.
        AgentUnavailable: this process belongs to no worker that has an agent.
    """
    if _refusal:
        raise ConfigurationError(_refusal)
    if _hosts is not None:
        return _hosts
    with _making:  # threads of one worker share its hosts
        return _made_pool()


def _made_pool() -> HostPool:
    global _hosts
    if _hosts is not None:
        return _hosts
    address = os.environ.get(ADDRESS_VARIABLE)
    if not address:
        raise AgentUnavailable(
            "This worker has no agent: autocelery was not in its app when it started. Construct "
            "Autocelery(app) in the module of the app, and restart the worker once."
        )
    _hosts = HostPool(address, _config.count_setting("AUTOCELERY_WARM_HOSTS", _config.DEFAULT_WARM_HOSTS))
    return _hosts


def refusal() -> str:
    """Return why this worker refuses live calls, and the mend; empty where it takes them."""
    return _refusal


def is_pool_child() -> bool:
    """Whether this is a child process of a prefork pool."""
    process = sys.modules.get("billiard.process")
    return process is not None and getattr(process.current_process(), "_parent_pid", None) == os.getppid()


def signal_host(pid: int, number: int) -> None:
    """Send a signal to a host; one that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def agent_status() -> dict[str, Any]:
    """Return what the agent says of itself: its pid, its zygote's, its hosts'."""
    return ask(os.environ[ADDRESS_VARIABLE], {"op": "status"})


def tell_agent(question: dict[str, Any], patience: float = AGENT_PATIENCE) -> dict[str, Any]:
    """Ask the agent of this worker, for at most ``patience`` seconds."""
    return ask(os.environ[ADDRESS_VARIABLE], question, patience)


def start_agent(app: Celery, worker: Any) -> None:
    """Start the agent of ``worker``; the one of an earlier worker in this process ends.

    A worker with the eventlet pool gets none: it says why, and refuses live calls.
    """
    global _agent, _hosts, _refusal
    stop_agent()
    _refusal = _NOT_UNDER_EVENTLET if _has_eventlet(worker) else ""
    if _refusal:
        logger.error("Live calls are refused: %s", _refusal)
        return
    _agent = AgentProcess(lambda folder: _terms(app, worker, folder))
    _agent.start()
    os.environ[ADDRESS_VARIABLE] = _agent.address
    _hosts = None
    atexit.register(stop_agent)


def _has_eventlet(worker: Any) -> bool:
    return "eventlet" in str(getattr(getattr(worker, "pool_cls", None), "__module__", ""))


def stop_agent() -> None:
    """End the agent that this process started, if it did."""
    global _agent, _hosts
    if _agent is not None and _agent.is_ours():
        if _hosts is not None:
            _hosts.close()
        _agent.stop()
        _agent, _hosts = None, None
        os.environ.pop(ADDRESS_VARIABLE, None)


def _terms(app: Celery, worker: Any, folder: Path) -> AgentTerms:
    home = _config.home()
    try:
        store, problem = store_url_for(app), ""
    except AutoceleryError as exc:
        store, problem = "", exc.message
    return AgentTerms(
        parent=os.getpid(),
        folder=folder,
        home_keys=home.keys,
        home_worker=home.worker,
        store=store,
        store_problem=problem,
        cache_max=_config.size_setting("AUTOCELERY_CACHE_MAX", _config.DEFAULT_CACHE_MAX),
        builds_environments=_config.builds_environments(),
        preload=_third_party_modules(),
        host=_worker_terms(app, worker),
    )


def _third_party_modules() -> tuple[str, ...]:
    loaded = importing.third_party_modules(frozenset())
    return tuple(name for name in loaded if not name.startswith("autocelery"))


def _worker_terms(app: Celery, worker: Any) -> WorkerTerms:
    pool = getattr(worker, "pool_cls", None)
    settings = {name: app.conf.get(name) for name in CONNECTION_SETTINGS}
    log = {
        "level": getattr(worker, "loglevel", None) or 30,
        "file": getattr(worker, "logfile", None),
        "redirect": app.conf.worker_redirect_stdouts,
        "redirect_level": app.conf.worker_redirect_stdouts_level,
    }
    return WorkerTerms(
        hostname=worker.hostname,
        settings={name: value for name, value in settings.items() if value is not None},
        blocks_joins=bool(getattr(pool, "task_join_will_block", True)),
        log=log,
        idle_seconds=_config.count_setting("AUTOCELERY_HOST_IDLE", _config.DEFAULT_HOST_IDLE),
        max_calls=_config.count_setting("AUTOCELERY_HOST_MAX_CALLS", _config.DEFAULT_HOST_MAX_CALLS),
        max_memory=_config.size_setting("AUTOCELERY_HOST_MAX_MEMORY", _config.DEFAULT_HOST_MAX_MEMORY),
    )
