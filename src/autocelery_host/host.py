"""The host: a process that runs the tasks of exactly one snapshot.

It is forked by a zygote, imports the snapshot's app, and then answers calls
one at a time over its socket. Each call is run by Celery's own tracer on the
snapshot's own task, so that retries, signals, callbacks and results are
Celery's. It is replaced, never reloaded.

On the socket: where the order says so, first the variables in, one JSON frame
``{name: value}``; then one JSON frame, ``{"ready": [third-party modules]}`` or
``{"failed": [error class, message]}``; then pickled calls ``(uuid, args,
kwargs, request)`` in, JSON outcomes out; a fifth part of a call says that it
has ended elsewhere, and what is left to do about it. The end of the socket is
the end of the host. A host that was idle for too long says ``{"bye": true}``
and ends; what it had not answered by then it has not begun.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import os
import pickle
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from celery import Celery, signals
from celery.app import trace

import autocelery_host
from autocelery.errors import TaskNotInSnapshot
from autocelery_host import (
    aftermath,
    aims,
    application,
    attachments,
    canvas,
    frames,
    importing,
    outcome,
    output,
    variables,
)
from autocelery_host.header import BUILT_IN, HEADER, LIVE_TASK, OUTPUT, Target
from autocelery_host.limits import Armed, resident_bytes
from autocelery_host.order import Order

__all__ = ["Host", "Order", "serve"]


def serve(sock: socket.socket, order: Order) -> int:
    """Be the host of ``order`` until the socket ends; returns the process's exit status."""
    known = frozenset(sys.modules)
    armed = Armed()
    _reset_signals(armed)
    autocelery_host.become_host_of(order.snapshot, order.key)
    if order.variables is not None and not variables.take(sock, order.variables):
        return 1
    try:
        app = application.load(order)
    except BaseException as exc:
        frames.send(sock, json.dumps({"failed": outcome.of_failed_import(exc, order)}).encode())
        return 1
    frames.send(sock, json.dumps({"ready": importing.third_party_modules(known)}).encode())
    return Host(sock, order, app, armed).run()


class Host:
    """Answers calls with Celery's own tracer."""

    def __init__(self, sock: socket.socket, order: Order, app: Celery, armed: Armed) -> None:
        self._sock = sock
        self._order = order
        self._app = app
        self._armed = armed

    def run(self) -> int:
        """Answer calls until told to end, idle for too long, or due to be replaced."""
        terms = self._order.terms
        idle_seconds = terms.idle_seconds
        if self._order.variables is not None:
            idle_seconds = min(idle_seconds, variables.IDLE_SECONDS)
        self._sock.settimeout(idle_seconds)
        for served in range(1, terms.max_calls + 1):
            try:
                payload = frames.receive(self._sock)
            except TimeoutError:
                frames.send(self._sock, b'{"bye": true}')
                break
            if payload is None:
                break
            answer = self._answer(payload)
            answer["last"] = last = (
                served == terms.max_calls or _too_big(terms.max_memory) or _has_left(answer)
            )
            self._sock.settimeout(None)
            frames.send(self._sock, json.dumps(answer).encode())
            self._sock.settimeout(idle_seconds)
            if last:
                break
        signals.worker_process_shutdown.send(sender=terms.hostname, pid=os.getpid(), exitcode=0)
        logging.shutdown()
        return 0

    def _answer(self, payload: bytes) -> dict[str, Any]:
        self._armed.begin()
        try:
            uuid, args, kwargs, request, *after = pickle.loads(payload)
            channels = self._channels(uuid, request)
            task = self._prepared(request)
            if attachments.MARK.encode() in payload:  # looking at bytes is cheaper than at values
                request["arguments_sent"] = args, kwargs
                args, kwargs = self._opened(args), self._opened(kwargs)
            if after:
                return aftermath.done(task, uuid, args, kwargs, request, after[0])
            asking = aims.asking(lambda app, task_id, name: channels.get(task_id))
            with asking, output.captured(self._order.agent, uuid, channels.get(uuid)) as ending:
                answer = self._traced(task, uuid, args, kwargs, request)
                ending.final = not _runs_again(answer)
            return answer
        except BaseException as exc:
            return {"raised": outcome.of_exception(exc, traceback.format_exc())}
        finally:
            _flush()

    def _channels(self, uuid: str, request: dict[str, Any]) -> dict[str, str]:
        """Return, by their ids, the channels that want the output of this call, and of what follows it."""
        wanted = request[HEADER].get(OUTPUT)
        if not wanted:
            return {}
        channels = {uuid: wanted}
        for each in [*(request.get("chain") or ()), request.get("chord")]:
            channels |= canvas.channels_of(self._app, each)
        return channels

    def _traced(
        self, task: Any, uuid: str, args: Any, kwargs: Any, request: dict[str, Any]
    ) -> dict[str, Any]:
        host = os.getpid()
        try:
            with self._armed:
                result, info, runtime, shown = task.__trace__(uuid, args, kwargs, request)
            if os.getpid() != host:
                _leave_to_parent(SystemExit(1 if info else 0))
        except BaseException as exc:
            if os.getpid() != host:
                _leave_to_parent(exc)
            return {"raised": outcome.of_exception(exc, traceback.format_exc())}
        if info:
            text = self._app.backend.with_local_paths(str(result.traceback))
            return {"failed": outcome.of_exception(result.exception, text), "runtime": runtime}
        return {"result": shown, "runtime": runtime}

    def _opened(self, arguments: Any) -> Any:
        carrier = attachments.carrier_of(self._app)
        if carrier is None:
            return arguments
        snapshot = self._order.snapshot
        return attachments.opened(arguments, lambda reference: carrier.open(reference, snapshot, None))

    def _prepared(self, request: dict[str, Any]) -> Any:
        """Return the task that ``request`` is for, and make the request what a deployed call has."""
        header = request.pop(HEADER)
        name = header["task"]
        task = self._task(name, header.get("module"))
        request["task"] = name
        if request.get("shadow") == name:
            request["shadow"] = None
        own = Target(self._order.snapshot, self._order.key, self._order.variables)
        for hanging in ("callbacks", "errbacks", "chain"):
            if request.get(hanging):
                request[hanging] = [canvas.to_plain(self._app, each, own) for each in request[hanging]]
        if request.get("chord"):
            request["chord"] = canvas.to_plain(self._app, request["chord"], own)
        if task.__trace__ is None:
            task.__trace__ = trace.build_tracer(
                name, task, self._app.loader, self._order.terms.hostname, app=self._app
            )
        return task

    def _task(self, name: str, module: str | None) -> Any:
        tasks = self._app.tasks
        for candidate in (None, module, name.rpartition(".")[0]):
            if candidate and candidate not in sys.modules and _is_there(candidate):
                importlib.import_module(candidate)
            if name in tasks and name != LIVE_TASK:
                return tasks[name]
        near = ", ".join(sorted(each for each in tasks if not each.startswith(BUILT_IN))) or "none"
        raise TaskNotInSnapshot(
            f"The snapshot {self._order.snapshot[:12]} defines no task {name!r}. It has: {near}. "
            "Is its module imported by the app (include=, imports, autodiscover_tasks)?"
        )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _reset_signals(armed: Armed) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    armed.install()


def _leave_to_parent(raised: BaseException) -> NoReturn:
    """End a process that the task forked and that came back here: the call is its parent's to answer."""
    code = (raised.code or 0) if isinstance(raised, SystemExit) else 1
    if not isinstance(raised, SystemExit) or not isinstance(code, int):
        traceback.print_exception(raised)
    _flush()
    os._exit(code & 0xFF if isinstance(code, int) else 1)


def _runs_again(answer: dict[str, Any]) -> bool:
    told = answer.get("raised") or answer.get("failed") or {}
    return told.get("kind") == "retry" or bool(told.get("requeue"))


def _has_left(answer: dict[str, Any]) -> bool:
    """Whether the task left as no task should, and a pool process would end."""
    return (answer.get("raised") or answer.get("failed") or {}).get("kind") in ("exit", "interrupt", "memory")


def _too_big(most: int) -> bool:
    return bool(most) and resident_bytes() > most


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a task may have replaced or closed it
            stream.flush()
