"""A copy of the conformance project in a git repository of its own, imported into this process."""

from __future__ import annotations

import importlib
import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery

_TEMPLATE = Path(__file__).parents[2] / "projects" / "conformance"


class Project:
    """One copy, with a package name that no other has: several may be imported side by side.

    Owns an entry of ``sys.path`` and the modules it imported.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder / "tree"
        self.package = f"conf_{secrets.token_hex(4)}"
        shutil.copytree(_TEMPLATE, self.folder / self.package, ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / self.package / "settings.json").write_text(json.dumps(settings))
        subprocess.run(["git", "init", "-q", str(self.folder)], check=True)
        sys.path.insert(0, str(self.folder))
        self.app: Celery = self.module("celery").app
        self.app.loader.import_default_modules()
        self._tasks = {
            name: value
            for module in self.module("celery").MODULES
            for name, value in vars(self.module(module)).items()
            if hasattr(value, "apply_async")
        }

    def module(self, name: str) -> ModuleType:
        """Import one of the project's modules."""
        return importlib.import_module(f"{self.package}.{name}")

    def task(self, name: str) -> Any:
        """Return the task that some module of the project calls ``name``."""
        return self._tasks[name]

    def close(self) -> None:
        """Give up the connections, the modules and the entry of ``sys.path``."""
        recording = self.module("recording")
        if recording._client is not None:
            recording._client.close()
        self.app.close()
        sys.path.remove(str(self.folder))
        for name in [each for each in sys.modules if each.split(".")[0] == self.package]:
            del sys.modules[name]
