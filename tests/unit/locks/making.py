"""Projects whose locks are made by the tools themselves, from a folder of wheels."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from autocelery._env.installing import uv_here
from autocelery._env.locks import finding, reading
from autocelery._env.locks.choosing import Needs, needs_of
from tests.wheels import installed, make_wheel


class Index:
    """A package index in a folder (PEP 503), with the hashes of its wheels. Owns the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashes: dict[str, str] = {}

    def add(self, name: str, version: str, *requires: str, files: dict[str, str] | None = None) -> Path:
        """Add a pure wheel with a module of that name, or with ``files``."""
        contents = files or {f"{name}.py": f"VERSION = {version!r}\n"}
        wheel = make_wheel(self.folder / name, name, version, contents, requires)
        self.hashes[wheel.name] = "sha256:" + hashlib.sha256(wheel.read_bytes()).hexdigest()
        links = [
            f'<a href="{each.name}#{self.hashes[each.name].replace(":", "=")}">{each.name}</a>'
            for each in sorted(wheel.parent.glob("*.whl"))
        ]
        (wheel.parent / "index.html").write_text("\n".join(links))
        return wheel

    def hash_of(self, name: str, version: str) -> str:
        return self.hashes[f"{name}-{version}-py3-none-any.whl"]

    def uv(self, *arguments: str, cwd: Path) -> None:
        """Run uv with this index alone."""
        command = [str(uv_here()), *arguments, "--no-config", "--default-index", self.folder.as_uri()]
        environment = {
            **os.environ,
            "UV_CACHE_DIR": str(self.folder.with_name("uv")),
            "UV_PYTHON": sys.executable,
        }
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def install(index: Index, site: Path, *wheels: str) -> None:
    """Install wheels, ``alpha-1.0``, into the folder ``site``."""
    paths = [index.folder / each.partition("-")[0] / f"{each}-py3-none-any.whl" for each in wheels]
    installed(paths, site)


def needs(project: Path, *imported: str) -> Needs:
    """Return what the project in the folder needs whose code imports those distributions."""
    found = finding.found_for(project, project)
    lock = reading.read(found.path, found.project) if found.path and found.project else None
    return needs_of(lock, imported)


def versions(found: Needs) -> dict[str, str]:
    """Return the version of each package that is pinned."""
    return {pin.name: pin.version for pin in found.pins}
