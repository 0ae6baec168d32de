"""What a zygote has around it: whose interpreter it runs in, and which packages that has."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

#: Variables that would bring something of the worker's packages, or change how its interpreter starts.
_OF_THE_WORKER = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "VIRTUAL_ENV")


@dataclass(frozen=True, slots=True)
class Interior:
    """The worker's own packages, unless it says otherwise.

    ``overlay`` is a folder of packages that goes before them. ``interpreter`` is the program of an environment
    that has nothing of them, and ``code`` then the folder with autocelery.
    """

    overlay: str | None = None
    interpreter: str | None = None
    code: str | None = None

    @property
    def program(self) -> str:
        """What to run."""
        return self.interpreter or sys.executable

    @property
    def name(self) -> str:
        """The environment's: that of its folder."""
        if self.interpreter is not None:
            return Path(self.interpreter).parents[1].name
        return Path(self.overlay).name if self.overlay else ""

    def variables(self) -> dict[str, str]:
        """Return the environment variables: what its hosts start has the same packages."""
        if self.interpreter is not None:
            kept = {name: value for name, value in os.environ.items() if name not in _OF_THE_WORKER}
            return {**kept, "PYTHONPATH": str(self.code), "PYTHONNOUSERSITE": "1"}
        if self.overlay is None:
            return dict(os.environ)
        paths = [self.overlay, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
