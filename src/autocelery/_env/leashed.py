"""Programs that end, with what they started, when this process does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autocelery._env import leash


@contextmanager
def leashed(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start ``command`` as the leader of a process group of its own; it ends with the block at the latest.

    Args:
        command: the program and its arguments.
        **options: of `subprocess.Popen`.

    Raises:
        OSError: it could not be started.
    """
    ending, held = os.pipe()
    try:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(ending), *command],
                pass_fds=[ending],
                start_new_session=True,
                **options,
            )
        finally:
            os.close(ending)
    except BaseException:
        os.close(held)
        raise
    with process:
        try:
            yield process
        finally:
            os.close(held)  # before `process` is waited for
