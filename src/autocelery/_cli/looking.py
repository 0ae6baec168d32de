"""What ``dev`` has to know of the project's app, found by a process of its own.

A module that ends its import because there is no broker has been run halfway by then: only a new process can
import it whole.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from autocelery import errors
from autocelery._cli.shell import Shell
from autocelery.errors import AppNotFound, AutoceleryError, BrokerNotConfigured

if TYPE_CHECKING:
    from autocelery._dev.project import Project


def look(shell: Shell, folder: Path, environment: Mapping[str, str]) -> Project:
    """Return what a process with these variables besides finds.

    Args:
        shell: which says how the app is named.
        folder: for what the process answers.
        environment: of a broker, if one was started.

    Raises:
        AppNotFound: there is no app, or it does not import.
        BrokerNotConfigured: it does not come up without a broker.
        BrokerUnavailable: its broker does not answer.
    """
    from autocelery._dev.project import Project

    shell.prepare()
    answer = folder / "project.json"
    command = [
        sys.executable,
        "-m",
        "autocelery._cli.looking",
        str(answer),
        *([shell.app] if shell.app else []),
    ]
    done = subprocess.run(command, env={**os.environ, **environment}, check=False)
    if done.returncode:
        raise AppNotFound(f"The process that imported the app ended with {done.returncode}.")
    told = json.loads(answer.read_text())
    if "error" in told:
        raise getattr(errors, told["error"])(told["message"])
    return Project(**told)


def main(answer: str, name: str | None = None) -> None:
    """Look, and write what was found.

    Args:
        answer: the file for it.
        name: of the app, as for ``celery -A``.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who asked says that it was interrupted
    logging.getLogger(
        "autocelery.eager"
    ).disabled = True  # it says that there is no broker: there will be one
    try:
        told = asdict(_found(Shell(name)))
    except AutoceleryError as error:
        told = {"error": type(error).__name__, "message": error.message}
    Path(answer).write_text(json.dumps(told))


def _found(shell: Shell) -> Project:
    from autocelery._dev import project

    try:
        app = shell.find_app()
    except AppNotFound as error:
        if isinstance(error.__cause__, BrokerNotConfigured):
            raise error.__cause__ from error
        raise
    return project.look_at(app, shell.app)


if __name__ == "__main__":
    main(*sys.argv[1:])
