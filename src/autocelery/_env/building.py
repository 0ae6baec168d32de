"""Overlays, folders with packages that go before the worker's own, and venvs that stand alone: each built once."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from autocelery._env.alone import install_alone, python_of, site_of
from autocelery._env.comparing import environment_id
from autocelery._env.compiling import compile_all
from autocelery._env.installing import install
from autocelery._env.interpreters import Interpreter
from autocelery._model import Pin
from autocelery.errors import AutoceleryError

logger = logging.getLogger(__name__)

_SCRATCH = ".scratch"


class Overlays:
    """Owns a folder with one folder per overlay, each complete or absent, and a thread per one that is new.

    Safe for threads.

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
        self._failed: dict[str, tuple[float, AutoceleryError]] = {}
        self._compiling: set[Path] = set()
        shutil.rmtree(folder / _SCRATCH, ignore_errors=True)  # what a build left that was killed

    def place(self, pins: Collection[Pin], interpreter: Interpreter | None = None) -> Path:
        """Return where the environment with ``pins`` is, once it is there."""
        return self._folder / environment_id(pins, interpreter)

    def get(self, pins: Collection[Pin], interpreter: Interpreter | None = None) -> Path:
        """Return the environment with ``pins``, built if there is none yet; all who ask at once wait for one build.

        It stays for as long as `tidy` is told that it is used, which has to begin before this is called.

        Args:
            pins: what it holds.
            interpreter: where it stands alone, whose venv it is; else it is an overlay for this process's.

        Raises:
            EnvironmentNotBuilt: uv is not here, or could not install them.
            EnvironmentMismatch: no host could start in it.
            DiskFull: there is no room.
        """
        asked = time.monotonic()
        place = self.place(pins, interpreter)
        with self._lock:
            turn = self._builds.setdefault(place.name, threading.Lock())
        with turn:
            if not place.is_dir():
                self._fail_with_others(place.name, asked)
                self._build(pins, interpreter, place)
            with contextlib.suppress(OSError):
                os.utime(place)  # what was used last is removed last
        return place

    def tidy(self, used: Callable[[], Collection[Path]]) -> None:
        """Remove overlays beyond the limit, the one that was asked for longest ago first.

        Args:
            used: returns those that stay; it is asked just before each goes.
        """
        with self._lock:
            found = sorted(self._overlays(), key=lambda each: each.stat().st_mtime)
            size = sum(self._size(each) for each in found)
            for each in found:
                if size <= self._limit:
                    return
                if self._remove(each, used):
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

    def _remove(self, place: Path, used: Callable[[], Collection[Path]]) -> bool:
        """Take the overlay out of sight by one rename, and then away; false where it is used, or asked for just now."""
        turn = self._builds.setdefault(place.name, threading.Lock())
        if not turn.acquire(blocking=False):
            return False
        try:
            if place in self._compiling or place in used():
                return False
            gone = self._folder / _SCRATCH / secrets.token_hex(8)
            gone.parent.mkdir(exist_ok=True)
            place.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        finally:
            turn.release()
        return True

    def _fail_with_others(self, name: str, asked: float) -> None:
        """Raise what a build raised that was under way when this one was ``asked`` for."""
        failed, reason = self._failed.get(name, (0.0, None))
        if reason is not None and failed > asked:
            raise type(reason)(reason.message)

    def _build(self, pins: Collection[Pin], interpreter: Interpreter | None, place: Path) -> None:
        began = time.monotonic()
        scratch = self._folder / _SCRATCH / secrets.token_hex(8)
        try:
            scratch.mkdir(parents=True)
            if interpreter is None:
                install(pins, scratch)
            else:
                install_alone(pins, scratch, interpreter)
            scratch.rename(place)
        except AutoceleryError as exc:
            self._failed[place.name] = (time.monotonic(), exc)
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        logger.info(
            "Built environment %s, %d packages%s, in %.1f s.",
            place.name[:12],
            len(pins),
            f", with Python {interpreter.version} and nothing of the worker's" if interpreter else "",
            time.monotonic() - began,
        )
        self._compiling.add(place)
        site, python = (place, sys.executable)
        if interpreter is not None:
            site, python = site_of(place, interpreter), str(python_of(place))
        threading.Thread(
            target=self._compile, args=(place, site, python), name="compiling", daemon=True
        ).start()

    def _compile(self, place: Path, site: Path, python: str) -> None:
        try:
            compile_all(site, python)
        finally:
            self._compiling.discard(place)
            with self._lock:
                self._sizes.pop(place.name, None)  # there is more of it now
