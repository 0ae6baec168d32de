"""Wheels made by hand, so that environments are built from a folder and not from the network."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from autocelery._env.locks.choosing import needs_of
from autocelery._env.pins import runtime_names
from autocelery._model import Pin


def make_wheel(
    folder: Path, name: str, version: str, files: Mapping[str, str], requires: Sequence[str] = ()
) -> Path:
    """Write a pure wheel into ``folder`` and return its path.

    Args:
        folder: what ``UV_FIND_LINKS`` names.
        name: the distribution's.
        version: its version.
        files: contents by their path in site-packages.
        requires: what it needs, as PEP 508 writes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {each}" for each in requires]
    contents = {
        **files,
        f"{told}/METADATA": "\n".join(metadata) + "\n",
        f"{told}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{told}/top_level.txt": "\n".join({each.partition("/")[0].removesuffix(".py") for each in files}),
    }
    record = [f"{path},sha256={_hash(text)},{len(text.encode())}" for path, text in contents.items()]
    contents[f"{told}/RECORD"] = "\n".join([*record, f"{told}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return wheel


def make_sdist(folder: Path, name: str, version: str, setup: str) -> Path:
    """Write a source distribution whose ``setup.py`` is ``setup`` into ``folder`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in {"setup.py": setup, "PKG-INFO": f"Name: {name}\nVersion: {version}\n"}.items():
            about = tarfile.TarInfo(f"{name}-{version}/{file}")
            about.size = len(text.encode())
            archive.addfile(about, io.BytesIO(text.encode()))
    return path


def installed(wheels: Sequence[Path], folder: Path) -> Path:
    """Unpack wheels into ``folder``, as ``pip install --target`` does, and return it."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def _hash(text: str) -> str:
    return _digest(text.encode())


def repacked(name: str, folder: Path) -> Path:
    """Write the distribution that is installed here as ``name`` into ``folder``, as the wheel it came from."""
    folder.mkdir(parents=True, exist_ok=True)
    installed_here = metadata.distribution(name)
    files = [each for each in installed_here.files or () if _is_of_the_wheel(each)]
    told = next(each.parts[0] for each in files if each.parts[0].endswith(".dist-info"))
    contents = {str(each): Path(str(each.locate())).read_bytes() for each in files}
    record = [f"{path},sha256={_digest(raw)},{len(raw)}" for path, raw in contents.items()]
    contents[f"{told}/RECORD"] = "\n".join([*record, f"{told}/RECORD,,"]).encode() + b"\n"
    tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)$", contents[f"{told}/WHEEL"].decode(), re.MULTILINE)
    tag = "-".join(".".join(sorted(set(parts))) for parts in zip(*tags, strict=True))
    wheel = folder / f"{told.removesuffix('.dist-info')}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, raw in contents.items():
            archive.writestr(path, raw)
    return wheel


def runtime_pins(*transports: str) -> tuple[Pin, ...]:
    """Return what Celery and autocelery consist of here, at the versions that are installed.

    Args:
        transports: the distributions of broker and result backend.
    """
    return needs_of(None, runtime_names(transports), left_out={"autocelery"}).pins


def runtime_index(folder: Path, *transports: str) -> Path:
    """Write wheels of all that an environment of its own needs to host calls into ``folder``, and return it."""
    for pin in runtime_pins(*transports):
        repacked(pin.name, folder)
    return folder


def _is_of_the_wheel(path: metadata.PackagePath) -> bool:
    """Whether an installed file was in the wheel: installers write some, Python others."""
    written_since = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
    return not written_since & {path.name} and ".." not in path.parts and "__pycache__" not in path.parts


def _digest(raw: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(raw).digest()).rstrip(b"=").decode()
