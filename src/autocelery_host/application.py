"""The snapshot's app in a host: imported, connected as its worker is, and started as a pool process would be."""

from __future__ import annotations

import copy
import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celery._state
from celery import Celery, signals
from celery.app import trace

from autocelery_host import aims, importing, messages, values
from autocelery_host.attachments import AttachedResults
from autocelery_host.carrying import HostCarrier
from autocelery_host.header import Target
from autocelery_host.order import Order


@dataclass(frozen=True, slots=True)
class HostWorker:
    """What receivers of ``worker_init`` get as sender in a host."""

    app: Celery
    hostname: str
    #: Celery's Django fixup asks for it before and after each task; a host is what a prefork child is.
    pool_cls: str = "celery.concurrency.prefork:TaskPool"


def load(order: Order) -> Celery:
    """Import the app of ``order`` and return it ready to trace tasks.

    Raises:
        Exception: whatever the shipped code raises while it is imported.
    """
    importing.enter(Path(order.folder), order.paths, order.cwd, Path(order.compiled), order.overlay)
    importing.guard_packages(order.packages)
    app = _found(order) if order.module else Celery(order.main, set_as_current=True)
    messages.install(app)
    app._autocelery_carrier = HostCarrier(app, order.agent)
    aims.send_everything_as(Target(order.snapshot, order.key, order.variables))
    _connect_as_worker(app, order)
    _log_as_worker(app, order)
    trace.setup_worker_optimizations(app, order.terms.hostname)
    app.loader.init_worker()
    if order.values:
        values.register(app, Path(order.values).read_bytes())
    signals.worker_init.send(sender=HostWorker(app, order.terms.hostname))
    app.loader.init_worker_process()
    if order.terms.blocks_joins:
        celery._state._set_task_join_will_block(True)
    signals.worker_process_init.send(sender=order.terms.hostname)
    _store_as_live(app, order)
    return app


def _found(order: Order) -> Celery:
    found: Any = importlib.import_module(str(order.module))
    for name in str(order.attribute).split("."):
        found = getattr(found, name)
    app: Celery = found
    return app


def _connect_as_worker(app: Celery, order: Order) -> None:
    """Give ``app`` the worker's broker and result backend, whatever it connected to while it was imported."""
    app.conf.update({**order.app_settings, **order.terms.settings})
    app.set_current()
    app.set_default()
    app.__dict__.pop("_backend_cache", None)
    app._backend_cache = None
    for kept in ("backend",):
        if hasattr(app._local, kept):
            delattr(app._local, kept)
    if app._pool is not None:
        app._pool.force_close_all()
        app._pool = None
    if "amqp" in app.__dict__:
        app.amqp._producer_pool = None


def _log_as_worker(app: Celery, order: Order) -> None:
    terms = order.terms
    for name in ("multiprocessing", "billiard"):
        process = sys.modules.get(f"{name}.process")
        if process is not None:
            process.current_process().name = f"live-{order.snapshot[:12]}"
    for variable, value in terms.log.get("environment", {}).items():
        os.environ[variable] = value
    app.log.setup(
        int(terms.log.get("level", 30)),
        terms.log.get("file"),
        bool(terms.log.get("redirect", False)),
        str(terms.log.get("redirect_level", "WARNING")),
        hostname=terms.hostname,
    )


class LiveResults(AttachedResults):
    """Mixed into the app's backend: results name their snapshot, tracebacks show the author's paths."""

    snapshot: str
    shipped_root: str
    local_root: str

    def with_local_paths(self, text: str) -> str:
        """Return ``text`` with the author's own path in place of the layout's."""
        return text.replace(self.shipped_root, self.local_root)

    def store_result(self, task_id: Any, result: Any, state: Any, *args: Any, **kwargs: Any) -> Any:
        """Store a result, attached where the backend's serializer does not carry it."""
        attached = self.attached(task_id, result, state, self.snapshot)
        return super().store_result(task_id, attached, state, *args, **kwargs)

    def on_chord_part_return(self, request: Any, state: Any, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Hand a result to the chord that waits for it, likewise."""
        attached = self.attached(request.id, result, state, self.snapshot)
        return super().on_chord_part_return(request, state, attached, *args, **kwargs)

    def _get_result_meta(
        self, result: Any, state: Any, traceback: Any, request: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if getattr(request, "arguments_sent", None):  # stored with the result (result_extended) as they came
            request = copy.copy(request)
            request.args, request.kwargs = request.arguments_sent
        meta = super()._get_result_meta(result, state, self._shown(traceback), request, *args, **kwargs)
        return {**meta, "snapshot": self.snapshot}

    def _get_meta_from_request(self, request: Any = None) -> Any:
        """Return what django-celery-results keeps with a result, whose other fields are columns."""
        return {**super()._get_meta_from_request(request), "snapshot": self.snapshot}

    def _to_result(
        self, task_id: Any, state: Any, result: Any, traceback: Any, *args: Any, **kwargs: Any
    ) -> Any:
        meta = super()._to_result(task_id, state, result, self._shown(traceback), *args, **kwargs)
        return {**meta, "snapshot": self.snapshot}

    def _shown(self, traceback: Any) -> Any:
        return self.with_local_paths(traceback) if isinstance(traceback, str) else traceback


def _store_as_live(app: Celery, order: Order) -> None:
    backend = app.backend
    kind = type(backend)
    backend.__class__ = type(f"Live{kind.__name__}", (LiveResults, kind), {})
    backend.snapshot = order.snapshot
    backend.shipped_root = f"{order.folder}/tree"
    backend.local_root = order.local_root.rstrip("/")
