"""Processes that tests started and left behind, found even when their parents are gone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable

import psutil

_MARK = "AUTOCELERY_TEST_SESSION"
_SECONDS_TO_END = 5


def mark_this_session() -> None:
    """Have every process that is started from now on carry this session's mark in its environment."""
    os.environ[_MARK] = secrets.token_hex(8)


def left_behind() -> list[psutil.Process]:
    """Return what still runs of this session, after a grace for what is about to end."""
    found = {process.pid: process for process in (*_children(), *_marked())}
    gone, alive = psutil.wait_procs(list(found.values()), timeout=_SECONDS_TO_END)
    del gone
    return alive


def describe(process: psutil.Process) -> str:
    """Return one line: pid, command line, and the test that was running when it was started."""
    try:
        command = " ".join(process.cmdline())[:160]
        test = process.environ().get("PYTEST_CURRENT_TEST", "an unknown test")
    except psutil.Error:
        return f"{process.pid}: gone meanwhile"
    return f"{process.pid}: {command}  (from {test})"


def _children() -> Iterable[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if not _belongs_to_python(child)]


def _marked() -> Iterable[psutil.Process]:
    """An orphan is nobody's child any more, but its environment still tells where it came from."""
    mark = os.environ.get(_MARK)
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _environment(process).get(_MARK) == mark
    ]


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if _belongs_to_python(process) else process.environ()
    except (psutil.Error, OSError):
        return {}


def _belongs_to_python(process: psutil.Process) -> bool:
    """multiprocessing's resource tracker lives as long as its parent, by design."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or any(
            "resource_tracker" in word for word in process.cmdline()
        )
    except psutil.Error:
        return True
