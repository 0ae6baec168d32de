"""The tasks of the code as it is here, and those of the workers that run."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from autocelery._celery.signatures import policy_of
from autocelery._celery.unreachable import broker_gone
from autocelery._check.comparing import Declared
from autocelery._publish import inspecting, naming
from autocelery.errors import NoWorkers
from autocelery_host.header import BUILT_IN
from autocelery_host.shapes import read
from autocelery_host.stamping import shape_of_task

#: The inspect command that asks a worker for the shapes of its tasks.
SIGNATURES = "autocelery_signatures"


def tasks_here(app: Celery) -> dict[str, Declared]:
    """Return the project's tasks by name, as this process imports them.

    Raises:
        CodeNotImportable: one of the modules with tasks raises while it is imported.
    """
    naming.import_tasks(app)
    return {
        name: Declared(shape_of_task(task), policy_of(task), _place(task))
        for name, task in app.tasks.items()
        if not name.startswith(BUILT_IN)
    }


def tasks_of_workers(app: Celery, timeout: float) -> dict[str, dict[str, Declared]]:
    """Return the tasks of each worker that answers; of one without autocelery, the names alone.

    Args:
        app: whose broker is asked.
        timeout: seconds that workers have to answer.

    Raises:
        BrokerUnavailable: the broker cannot be reached.
        NoWorkers: nobody answers.
    """
    try:
        told, named = inspecting.ask(app, SIGNATURES, timeout), inspecting.ask(app, "registered", timeout)
    except (OperationalError, OSError) as exc:
        raise broker_gone(app, exc, "no worker can be asked") from exc
    found = {}
    for worker in sorted({*told, *named}):
        answer = told.get(worker)
        shapes = answer if isinstance(answer, Mapping) and "error" not in answer else {}
        names = [str(each).partition(" [")[0] for each in named.get(worker) or ()]
        found[worker] = {
            name: _declared(shapes.get(name))
            for name in sorted({*shapes, *names})
            if not name.startswith(BUILT_IN)
        }
    if not found:
        raise NoWorkers(
            "No worker answered. Start one: celery -A ... worker; or give them longer: --timeout 10."
        )
    return found


def _declared(told: object) -> Declared:
    """Return what a worker tells of one task."""
    if not isinstance(told, list | tuple) or len(told) != 2:
        return Declared(
            None, doubt="The worker does not tell what its tasks take: it runs without autocelery."
        )
    return Declared(read(told[0]), str(told[1]))


def _place(task: Any) -> str:
    code = getattr(inspect.unwrap(task.run), "__code__", None)
    if code is None:
        return ""
    path = Path(code.co_filename)
    return f"{os.path.relpath(path) if path.is_relative_to(Path.cwd()) else path}:{code.co_firstlineno}"
