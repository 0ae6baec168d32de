"""How a call's end is told to the worker: in plain values, so that no class of the snapshot reaches it."""

from __future__ import annotations

import importlib
import os
import traceback
from typing import Any

from billiard.einfo import ExceptionWithTraceback
from celery import loaders
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.utils.serialization import get_pickled_exception
from kombu.utils.encoding import safe_repr as _safe_repr

import autocelery_host
from autocelery.errors import AutoceleryError, CodeNotImportable
from autocelery_host.order import Order


def of_exception(exc: BaseException, text: str) -> dict[str, Any]:
    """Return what a worker's bookkeeping needs of ``exc``, whose traceback reads ``text``.

    ``kind`` is one of ``retry``, ``reject``, ``ignore``, ``exit``,
    ``interrupt``, ``memory``, ``soft limit``, ``typed`` (an error of autocelery) and
    ``error``. ``wrapped`` says whether Celery's tracer left billiard's wrapper on.
    """
    wrapped = isinstance(exc, ExceptionWithTraceback)
    if isinstance(exc, ExceptionWithTraceback):
        exc = exc.exc
    told: dict[str, Any] = {"kind": "error", "type": type(exc).__name__, "repr": _shown(exc), "text": text}
    told["wrapped"] = wrapped
    if isinstance(exc, Retry):
        told |= {
            "kind": "retry",
            "message": str(exc.message),
            "cause": _text(exc.exc),
            "when": _plain(exc.when),
        }
    elif isinstance(exc, Reject):
        told |= {"kind": "reject", "reason": _plain(exc.reason), "requeue": bool(exc.requeue)}
    elif isinstance(exc, Ignore):
        told["kind"] = "ignore"
    elif isinstance(exc, SystemExit):
        told |= {"kind": "exit", "code": _plain(exc.code)}
    elif isinstance(exc, KeyboardInterrupt):
        told["kind"] = "interrupt"
    elif isinstance(exc, MemoryError):
        told["kind"] = "memory"
    elif isinstance(exc, SoftTimeLimitExceeded):
        told["kind"] = "soft limit"
    elif isinstance(exc, AutoceleryError):
        told |= {"kind": "typed", "message": exc.message}
    return told


def _plain(value: object) -> str | int | float | None:
    return value if isinstance(value, str | int | float | type(None)) else _text(value)


def _shown(exc: BaseException) -> str:
    return _text(get_pickled_exception(exc))


def _text(value: Any) -> str:
    return str(_safe_repr(value))  # type: ignore[no-untyped-call]


#: Whose frames say nothing of why a module could not be imported.
_IMPORTERS = (
    "<frozen importlib",
    *(os.path.dirname(str(each.__file__)) + os.sep for each in (importlib, loaders, autocelery_host)),
)


def of_failed_import(exc: BaseException, order: Order) -> list[str]:
    """Return ``[error class, message]`` for code that raised while it was imported."""
    for each in _causes(exc):
        if isinstance(each, AutoceleryError):
            return [type(each).__name__, each.message]
    relevant = "".join(_own_frames(exc, order)).replace(f"{order.folder}/tree", order.local_root.rstrip("/"))
    return [
        CodeNotImportable.__name__,
        f"The snapshot {order.snapshot[:12]} cannot be imported: {type(exc).__name__}: {exc}. "
        f"Mend the code and send the call again. Where it happened:\n{relevant.rstrip()}",
    ]


def _own_frames(exc: BaseException, order: Order) -> list[str]:
    """Return the traceback from the snapshot's first frame on, without the steps of whoever imports it."""
    told = traceback.TracebackException.from_exception(exc)
    frames = [each for each in told.stack if not each.filename.startswith(_IMPORTERS)]
    own = [number for number, each in enumerate(frames) if each.filename.startswith(order.folder)]
    shown = frames[own[0] :] if own else frames[-3:]
    return [*traceback.StackSummary.from_list(shown).format(), *told.format_exception_only()]


def _causes(exc: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while exc is not None and exc not in found:
        found.append(exc)
        exc = exc.__cause__ or exc.__context__
    return found
