"""Bytecode of an overlay, compiled beside the first call that uses it: compiling all took as long as installing."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from autocelery._env.leashed import leashed

#: Seconds after which the rest is left to the hosts, which then compile what they import.
PATIENCE = 300.0


def compile_all(place: Path, python: str = sys.executable) -> None:
    """Compile what is in ``place``, at low priority; it ends when this process does.

    The folder is the working directory and all names are relative to it: should it be
    taken away meanwhile, nothing is written where it was.
    """
    command = [python, "-I", "-S", "-m", "compileall", "-q", "-q", "."]
    nothing = subprocess.DEVNULL
    # The folder may be gone already, and there may be no process to be had: each host compiles what it imports.
    with (
        suppress(OSError, subprocess.TimeoutExpired),
        leashed(command, stdin=nothing, stdout=nothing, stderr=nothing, cwd=place) as process,
    ):
        os.setpriority(os.PRIO_PGRP, process.pid, 10)
        process.wait(PATIENCE)
