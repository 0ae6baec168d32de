"""Process groups: a host leads one, with whatever its tasks start in it."""

from __future__ import annotations

import os
import signal


def end_group(pid: int) -> bool:
    """Kill the process group that ``pid`` leads: a host, and what its tasks started; false where there is none."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True
