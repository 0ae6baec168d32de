"""The small project that defects are seeded into, and what a defect is."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

_FILES = {
    "proj/__init__.py": "",
    "proj/celery.py": """
        import json, os
        from celery import Celery

        app = Celery("proj")
        app.conf.update(json.loads(os.environ["PROJ_SETTINGS"]))
        if os.environ.get("PROJ_IS_BARE") != "1":
            from autocelery import Autocelery
            auto = Autocelery(app)
        """,
    "proj/rates.py": "RATE = 2\n",
    "proj/tasks.py": """
        from pathlib import Path

        from proj.celery import app
        from proj.rates import RATE

        @app.task
        def price(amount):
            return amount * RATE

        @app.task
        def holidays():
            return Path("data/holidays.csv").read_text().splitlines()
        """,
    "data/holidays.csv": "2026-12-25\n",
    "pyproject.toml": '[project]\nname = "proj"\nversion = "1.0"\n',
    ".gitignore": "__pycache__/\n/private/\n*.so\n",
}

#: Which of the three workers is asked: one as they come, one that builds nothing, one without autocelery, or nobody.
Fleet = Literal["plain", "strict", "bare", "nobody"]


@dataclass(slots=True)
class Seeding:
    """One project that a defect is put into. Owns its folder.

    ``settings`` are of the Celery app, ``environment`` of the command,
    ``name`` is what follows ``-A``. ``command`` runs ``autocelery`` there.
    """

    folder: Path
    settings: dict[str, Any] = field(default_factory=lambda: {"include": ["proj.tasks"]})
    environment: dict[str, str] = field(default_factory=dict)
    name: str = "proj"
    command: Callable[..., subprocess.CompletedProcess[str]] | None = None

    @property
    def top(self) -> Path:
        """The project's top."""
        return self.folder / "project"

    def lay_out(self) -> None:
        """Write the project as it is without a defect, and make it a git repository."""
        for path, text in _FILES.items():
            self.write(path, text)
        self.git("init", "-q")

    def write(self, path: str, content: str | bytes) -> Path:
        """Write a file of the project."""
        target = self.top / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
        return target

    def add(self, path: str, text: str) -> None:
        """Write at the end of a file of the project."""
        target = self.top / path
        target.write_text(f"{target.read_text()}\n{textwrap.dedent(text)}")

    def task(self, body: str) -> None:
        """Add a task with this body."""
        lines = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        self.add("proj/tasks.py", f"@app.task\ndef seeded():\n{lines}\n")

    def ignore(self, *lines: str) -> None:
        """Add lines to ``.gitignore``."""
        self.add(".gitignore", "\n".join(lines))

    def git(self, *arguments: str, where: Path | None = None) -> None:
        """Run git in the project."""
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = ["git", *identity, *arguments]
        subprocess.run(command, cwd=where or self.top, env=environment, check=True, capture_output=True)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``autocelery`` in the project, before the defect is looked for."""
        assert self.command is not None
        return self.command(self, *words)


@dataclass(frozen=True, slots=True)
class Defect:
    """Something that makes live calls fail, or not do what was meant.

    ``says`` are the names and words that one problem has to hold; ``level`` is that
    problem's: ``error``, ``warning``, or ``refused`` where the plan itself ends with that error.
    """

    what: str
    seed: Callable[[Seeding], object]
    says: tuple[str, ...]
    level: Literal["error", "warning", "refused"] = "error"
    fleet: Fleet = "plain"
