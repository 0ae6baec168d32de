"""The Pythons of a machine that hosts may run in, beside the one that its worker runs in. None is ever downloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The minor versions that autocelery runs in, and so its hosts.
SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
#: This process's own.
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
#: Seconds that a program has to say what Python it is.
_PATIENCE = 10.0
_WHO = """
import json, sys, venv
assert sys.implementation.name == "cpython"
print(json.dumps([sys.executable, *sys.version_info[:3]]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python: ``path`` of its program, and its ``version``, as in ``"3.12.1"``."""

    path: str
    version: str

    @property
    def minor(self) -> str:
        """Its version without the last part, as in ``"3.12"``."""
        return self.version.rpartition(".")[0]

    @property
    def markers(self) -> dict[str, str]:
        """What a requirement may depend on and is this interpreter's (PEP 508)."""
        return {
            "python_version": self.minor,
            "python_full_version": self.version,
            "implementation_version": self.version,
        }


def cache_tag(minor: str) -> str:
    """Return what Python ``minor`` calls its bytecode.

    >>> cache_tag("3.12")
    'cpython-312'
    """
    return f"cpython-{minor.replace('.', '')}"


class Interpreters:
    """Finds the Pythons of this machine, each at the first time that it is asked for. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Interpreter] = {}

    def get(self, minor: str) -> Interpreter | None:
        """Return the Python ``minor``, as in ``"3.12"``, or ``None`` where there is none that runs.

        One that is not there may be installed later: it is looked for again.
        """
        if minor == HERE:
            return own_interpreter()
        if minor not in SUPPORTED:
            return None
        with self._lock:
            known = self._found.get(minor)
            if known is None or not os.access(known.path, os.X_OK):
                self._found.pop(minor, None)
                found = next(filter(None, (_asked(each, minor) for each in _candidates(minor))), None)
                if found is not None:
                    self._found[minor] = found
            return self._found.get(minor)

    def minors(self) -> tuple[str, ...]:
        """Return the minor versions that are here, the own one included."""
        return tuple(each for each in SUPPORTED if self.get(each) is not None)


def own_interpreter() -> Interpreter:
    """Return the Python that runs this process."""
    return Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])))


def _candidates(minor: str) -> Iterator[str]:
    """Yield where a Python may be: on the search path, then where pyenv and uv put those that they install."""
    name = f"python{minor}"
    for folder in os.get_exec_path():
        found = shutil.which(name, path=folder)
        if found:
            yield found
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    for place, pattern in ((pyenv, f"{minor}.*"), (uv, f"cpython-{minor}.*")):
        yield from (str(each) for each in sorted(place.glob(f"{pattern}/bin/{name}"), reverse=True))


def _asked(program: str, minor: str) -> Interpreter | None:
    """Return the Python that ``program`` is; a shim of pyenv may lead nowhere, and a name may mislead."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [program, "-I", "-S", "-c", _WHO],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=True,
            cwd="/",
            env=environment,
        )
        path, *version = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    found = Interpreter(str(path), ".".join(map(str, version)))
    return found if found.minor == minor else None
