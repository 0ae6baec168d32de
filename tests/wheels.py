"""Wheels made by hand, so that environments are built from a folder and not from the network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


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


def installed(wheels: Sequence[Path], folder: Path) -> Path:
    """Unpack wheels into ``folder``, as ``pip install --target`` does, and return it."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def _hash(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
