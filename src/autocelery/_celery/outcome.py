"""What a host told, as Celery's worker expects it of a tracer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.states import FAILURE

import autocelery.errors
from autocelery.errors import AutoceleryError, HostLost

_INFO = TraceInfo(FAILURE)


class RemoteError(Exception):
    """Stands in the worker for an exception of the snapshot's code, whose class stays in its host."""

    def __init__(self, shown: str = "") -> None:
        super().__init__(shown)
        self.shown = shown

    def __repr__(self) -> str:
        return self.shown

    __str__ = __repr__


def traced(told: dict[str, Any], in_pool_child: bool) -> Any:
    """Return ``(R, I, T, Rstr)`` for what a host told of a call.

    Args:
        told: what `autocelery_host.outcome` made of the call's end.
        in_pool_child: whether this process belongs to a prefork pool, which
            replaces it when a task leaves by SystemExit. Any other pool has
            only one process: there it is the host that is lost.

    Raises:
        HostLost: the task ended its host.
        BaseException: what the task raised past Celery's tracer: ``SystemExit``, ``MemoryError``, ….
    """
    if "raised" in told:
        kind, shown = told["raised"]["kind"], told["raised"]["repr"]
        if kind == "memory":
            raise _out_of_memory(shown)
        if kind in ("exit", "interrupt") and not in_pool_child:
            raise HostLost(f"The task left by {shown}, and its host was ended.")
        if kind == "exit":
            # Not raised: billiard has its pool processes note in sys.exit what they end with.
            sys.exit(told["raised"]["code"])
        raise _stand_in(told["raised"])
    if "failed" in told:
        failed = told["failed"]
        einfo = _einfo(_stand_in(failed), failed["text"], failed["wrapped"])
        return trace_ok_t(einfo, _INFO, told["runtime"], None)
    return trace_ok_t(None, None, told["runtime"], told["result"])


def naming(exc: AutoceleryError, hostname: object) -> AutoceleryError:
    """Return ``exc`` with the name of the worker that it happened on: a caller knows only the queue."""
    return type(exc)(f"{hostname}: {exc.message}") if hostname else exc


def is_worker_lost(exc: BaseException) -> bool:
    """Whether ``exc`` means to Celery that the process which ran the task died."""
    return isinstance(exc, WorkerLostError)


def lost(exc: AutoceleryError) -> Any:
    """Return what makes Celery's worker apply its own rules for a lost process: requeue, or fail."""
    return trace_ok_t(_einfo(exc, f"{type(exc).__name__}: {exc.message}"), TraceInfo(FAILURE, exc), 0.0, None)


def _out_of_memory(shown: str) -> HostLost:
    """Return what stands for a MemoryError: raised in the worker, it would end the worker, for everybody."""
    return HostLost(
        f"The task ran out of memory ({shown}), and its host was ended. Give the worker's machine more memory, "
        "or the task less to do at once."
    )


def _einfo(exc: BaseException, text: str, wrapped: bool = False) -> ExceptionInfo:
    try:
        raise exc
    except BaseException:  # noqa: BLE001 - raised a line above, to be described
        einfo = ExceptionInfo()
    if not wrapped:
        einfo.exception = exc  # billiard has wrapped it; of a failure Celery's tracer takes the wrapper off
    einfo.traceback = text
    return einfo


def _when(told: Any) -> Any:
    """Return seconds as they are, and a time that came as text so that it shows as it did."""
    return RemoteError(told) if isinstance(told, str) else told


def _stand_in(told: dict[str, Any]) -> BaseException:
    makers: dict[str, Callable[[], BaseException]] = {
        "retry": lambda: Retry(told["message"], exc=RemoteError(told["cause"]), when=_when(told["when"])),
        "reject": lambda: Reject(told["reason"], requeue=told["requeue"]),
        "ignore": Ignore,
        "exit": lambda: SystemExit(told["code"]),
        "interrupt": KeyboardInterrupt,
        "soft limit": SoftTimeLimitExceeded,
        "typed": lambda: getattr(autocelery.errors, told["type"], AutoceleryError)(told["message"]),
    }
    return makers.get(told["kind"], lambda: RemoteError(told["repr"]))()
