"""The worker's autocelery for hosts that have nothing else of the worker's: a folder with it alone."""

from __future__ import annotations

import shutil
import threading
from importlib import metadata
from pathlib import Path

import autocelery_host


class OwnCode:
    """Owns a folder with this process's autocelery, copied when it is first asked for. Safe for threads.

    A copy, since the interpreter of another minor version writes its bytecode beside what it imports,
    and the worker's packages are never written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._is_made = False

    def get(self) -> Path:
        """Return the folder, to be put on the import path."""
        with self._lock:
            if not self._is_made:
                shutil.rmtree(self._folder, ignore_errors=True)  # of another release, perhaps
                _copy_to(self._folder)
                self._is_made = True
        return self._folder


def _copy_to(folder: Path) -> None:
    source = Path(str(autocelery_host.__file__)).parents[1]
    for name in ("autocelery", "autocelery_host"):
        shutil.copytree(source / name, folder / name)
    installed = metadata.distribution("autocelery")
    info = folder / f"autocelery-{installed.version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(installed.read_text("METADATA") or "")
