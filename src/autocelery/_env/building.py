"""Overlays: folders with packages that go before the worker's own, each built once with uv."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path

from autocelery._env.comparing import environment_id, missing_in
from autocelery._model import Pin
from autocelery.errors import DiskFull, EnvironmentNotBuilt

logger = logging.getLogger(__name__)

#: Seconds that a build may take; an index that hangs is given up earlier (UV_HTTP_TIMEOUT).
BUILD_SECONDS = 600.0
_SCRATCH = ".scratch"
_NO_ROOM = ("No space left on device", "Disk quota exceeded", os.strerror(errno.EFBIG))


class Overlays:
    """Owns a folder with one folder per overlay, each complete or absent. Safe for threads.

    Args:
        folder: made on first use.
        limit: bytes that `tidy` keeps it to.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        self._builds: dict[str, threading.Lock] = {}
        shutil.rmtree(folder / _SCRATCH, ignore_errors=True)  # what a build left that was killed

    def get(self, pins: Collection[Pin]) -> Path:
        """Return the overlay with ``pins``, built if there is none yet; all who ask at once wait for one build.

        Raises:
            EnvironmentNotBuilt: uv is not here, or could not install them.
            DiskFull: there is no room.
        """
        name = environment_id(pins)
        place = self._folder / name
        with self._lock:
            turn = self._builds.setdefault(name, threading.Lock())
        with turn:
            if not place.is_dir():
                self._build(pins, place)
            with contextlib.suppress(OSError):
                os.utime(place)  # what was used last is removed last
        return place

    def tidy(self, used: Collection[Path]) -> None:
        """Remove overlays beyond the limit that are not ``used``, the one that was asked for longest ago first."""
        with self._lock:
            found = sorted(self._overlays(), key=lambda each: each.stat().st_mtime)
            size = sum(self._size(each) for each in found)
            for each in found:
                if size <= self._limit:
                    return
                if each not in used and self._remove(each):
                    size -= self._sizes.pop(each.name)

    def _overlays(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [each for each in self._folder.iterdir() if each.name != _SCRATCH]

    def _size(self, place: Path) -> int:
        if place.name not in self._sizes:
            files = (each.lstat() for each in place.rglob("*"))
            self._sizes[place.name] = sum(status.st_size for status in files)
        return self._sizes[place.name]

    def _remove(self, place: Path) -> bool:
        """Take the overlay out of sight by one rename, and then away; false where it is being asked for just now."""
        turn = self._builds.setdefault(place.name, threading.Lock())
        if not turn.acquire(blocking=False):
            return False
        try:
            gone = self._folder / _SCRATCH / secrets.token_hex(8)
            gone.parent.mkdir(exist_ok=True)
            place.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        finally:
            turn.release()
        return True

    def _build(self, pins: Collection[Pin], place: Path) -> None:
        began = time.monotonic()
        scratch = self._folder / _SCRATCH / secrets.token_hex(8)
        try:
            scratch.mkdir(parents=True)
            _install(pins, scratch)
            scratch.rename(place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        logger.info(
            "Built environment %s, %d packages, in %.1f s.",
            place.name[:12],
            len(pins),
            time.monotonic() - began,
        )


def uv_here() -> str | None:
    """Return the path of uv: that of the package ``uv``, else the one on the search path, ``None`` without."""
    try:
        import uv
    except ImportError:
        return shutil.which("uv")
    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        return shutil.which("uv")


def _install(pins: Collection[Pin], target: Path) -> None:
    """Install the pins, then what they need here and did not where they were pinned: on another platform."""
    exactly = [f"{pin.name}=={pin.version}" for pin in pins]
    _run_uv(exactly, target, "--no-deps")
    missing = missing_in(target)
    if missing:
        pinned = target.with_suffix(".pins")
        try:
            pinned.write_text("\n".join(exactly))
            _run_uv(missing, target, "--constraint", str(pinned))
        finally:
            pinned.unlink(missing_ok=True)


def _run_uv(wanted: list[str], target: Path, *options: str) -> None:
    program = uv_here()
    if program is None:
        raise EnvironmentNotBuilt(
            f"The snapshot needs {_shown(wanted)}, which this worker has not, and uv is not there to build an "
            "environment with. On the worker: pip install 'autocelery[env]', or install the packages."
        )
    command = [program, "pip", "install", "--quiet", "--no-config", "--no-progress", "--compile-bytecode"]
    command += [*options, "--python", sys.executable, "--target", str(target), "-r", "-"]
    try:
        done = subprocess.run(
            command,
            input="\n".join(wanted),
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
            cwd=target,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentNotBuilt(
            f"{_shown(wanted)} could not be installed within {BUILD_SECONDS:.0f} s. Is the package index reached "
            "from the worker? UV_DEFAULT_INDEX names another, UV_HTTP_TIMEOUT how long it is waited for."
        ) from None
    if done.returncode:
        raise _why(done, wanted, target)


def _why(done: subprocess.CompletedProcess[str], wanted: list[str], target: Path) -> Exception:
    said = done.stderr or f"nothing, and ended with status {done.returncode}."
    if done.returncode == -signal.SIGXFSZ or any(each in said for each in _NO_ROOM):
        return DiskFull(
            f"The disk of {target.parent.parent} has no room for an environment with {_shown(wanted)}. Free some, "
            "or move it with AUTOCELERY_HOME."
        )
    return EnvironmentNotBuilt(
        f"This worker could not install {_shown(wanted)}. uv says: {' '.join(said.split())[-1500:]} Install them "
        "on the worker, or call with versions that it can get."
    )


def _shown(wanted: list[str]) -> str:
    return ", ".join(wanted[:8]) + (f" and {len(wanted) - 8} more" if len(wanted) > 8 else "")
