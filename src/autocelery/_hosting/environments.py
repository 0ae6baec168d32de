"""Which environment a snapshot gets on a worker: its own packages, an overlay before them, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autocelery._env.alone import python_of, refuse_impossible
from autocelery._env.building import Overlays
from autocelery._env.comparing import clashes, installed_here, needs_of_celery, to_build
from autocelery._env.interpreters import HERE, Interpreter, Interpreters
from autocelery._model import Lock, Pin
from autocelery.errors import EnvironmentMismatch, PackageAltered, PythonMismatch


@dataclass(frozen=True, slots=True)
class Chosen:
    """An environment: ``versions`` are those of the packages that its hosts see, by canonical names.

    ``pins`` are what has to be built, none where the worker's own packages do;
    ``interpreter`` is whose, where it stands alone.
    """

    versions: Mapping[str, str]
    pins: tuple[Pin, ...] = ()
    interpreter: Interpreter | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """Where a host finds its environment, as its order says."""

    overlay: str | None = None
    interpreter: str | None = None


class Environments:
    """Owns the environments of one worker. Safe for threads.

    Args:
        folder: made on first use.
        limit: bytes that they are kept to.
        builds: whether any may be built.
    """

    def __init__(self, folder: Path, limit: int, builds: bool) -> None:
        self._overlays = Overlays(folder, limit)
        self._builds = builds
        self._interpreters = Interpreters()
        self._used: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._installed = installed_here()
        self._needs = needs_of_celery()

    def check_python(self, snapshot: str, needed: str, has_lock: bool) -> None:
        """Refuse a snapshot of a Python that is not here, before anything of it is fetched.

        Raises:
            PythonMismatch: no host can run it.
        """
        if needed == HERE or (has_lock and self._builds and self._interpreters.get(needed)):
            return
        made_with = f"Snapshot {snapshot[:12]} was made with Python {needed}, and this worker runs {HERE}"
        mend = f"Call from a Python {HERE}, or route the call to a worker that runs {needed}."
        if not has_lock:
            raise PythonMismatch(
                f'{made_with}, with its own packages: environment = "worker" in [tool.autocelery]. {mend}'
            )
        if not self._builds:
            raise PythonMismatch(f"{made_with} and builds no environments (AUTOCELERY_ENV_POLICY). {mend}")
        raise PythonMismatch(f"{made_with}; Python {needed} is not on its machine. Install it there. {mend}")

    def choose(self, lock: Lock, python: str) -> Chosen:
        """Return the environment for ``lock`` and the Python that the snapshot was made with.

        Raises:
            EnvironmentMismatch: no host could run in it.
        """
        if lock.is_alone or python != HERE:
            return self._alone(lock, python)
        if not self._builds:
            return Chosen(self._installed)
        pins = to_build(lock.pins, self._installed, lock.asked)
        clashing = clashes(pins, self._needs)
        if clashing:
            raise EnvironmentMismatch(
                f"{'. '.join(clashing)}. Install a version that both admit where you call from; or set "
                'environment = "own" in [tool.autocelery] to bring your Celery along, "worker" to run with the '
                "worker's own packages."
            )
        return Chosen({**self._installed, **{pin.name: pin.version for pin in pins}}, pins)

    def build(self, chosen: Chosen, snapshot: str, source: str) -> Built:
        """Return where the environment is; it stays until the snapshot is `forgotten <forget>`.

        Args:
            chosen: what to build, if it is not there.
            snapshot: whose it is.
            source: where its versions are from, to be named.

        Raises:
            EnvironmentNotBuilt: uv is not here, or could not install it.
            PackageAltered: a file that was served has none of the hashes.
            EnvironmentMismatch: no host could start in it.
            DiskFull: there is no room.
        """
        if not chosen.pins:
            return Built()
        with self._lock:
            self._used[snapshot] = self._overlays.place(chosen.pins, chosen.interpreter)
        try:
            place = self._overlays.get(chosen.pins, chosen.interpreter)
        except PackageAltered as exc:
            raise PackageAltered(f"{exc.message} The lock is {source}.") from None
        if chosen.interpreter is not None:
            return Built(interpreter=str(python_of(place)))
        return Built(overlay=str(place))

    def has(self, chosen: Chosen) -> bool:
        """Tell whether it is built."""
        return self._overlays.place(chosen.pins, chosen.interpreter).is_dir()

    def forget(self, snapshot: str) -> None:
        """Note that no host of ``snapshot`` runs any more."""
        with self._lock:
            self._used.pop(snapshot, None)

    def tidy(self) -> None:
        """Remove what is beyond the limit and not in use."""
        self._overlays.tidy(self._in_use)

    def _in_use(self) -> list[Path]:
        with self._lock:
            return list(self._used.values())

    def _alone(self, lock: Lock, python: str) -> Chosen:
        if not self._builds:
            raise EnvironmentMismatch(
                'The snapshot asks for an environment of its own (environment = "own" in [tool.autocelery]), and '
                "this worker builds none (AUTOCELERY_ENV_POLICY=never). Route the call to a worker that does, or "
                'set environment = "build".'
            )
        interpreter = self._interpreters.get(python)
        if interpreter is None:
            raise PythonMismatch(
                f"Python {python} is not on this worker's machine any more. Install it there."
            )
        pins = lock.complete
        refuse_impossible(pins)
        return Chosen({pin.name: pin.version for pin in pins}, pins, interpreter)
