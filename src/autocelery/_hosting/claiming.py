"""One cache folder per worker, so that no two agents sweep each other's files."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

_NOT_IN_A_NAME = re.compile(r"[^\w.@-]+")


class Claim:
    """A worker's own folder, from one start to the next. Owns a lock on it, which ends with the process."""

    def __init__(self, base: Path, hostname: str) -> None:
        name = _NOT_IN_A_NAME.sub("_", hostname) or "worker"
        for number in range(1, 10_000):
            self.folder = base / (name if number == 1 else f"{name}-{number}")
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:  # another worker of the same name is running
                os.close(self._lock)
        raise OSError(f"every cache folder {base}/{name}-… is taken")
