"""Packages into a folder, with uv."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from autocelery._env import leash
from autocelery._env.comparing import missing_in
from autocelery._model import Pin
from autocelery.errors import DiskFull, EnvironmentNotBuilt

#: Seconds that a build may take; an index that hangs is given up earlier (UV_HTTP_TIMEOUT).
BUILD_SECONDS = 600.0
_NO_ROOM = ("No space left on device", "Disk quota exceeded", os.strerror(errno.EFBIG))


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


def install(pins: Collection[Pin], target: Path) -> None:
    """Install the pins, then what they need here and did not where they were pinned: on another platform.

    Raises:
        EnvironmentNotBuilt: uv is not here, or could not install them.
        DiskFull: there is no room.
    """
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
    _remove_shadows(target)


def _remove_shadows(target: Path) -> None:
    """Remove modules that the standard library has.

    Nobody imports them from site-packages, which come after it. What is here comes before it, for the sake of
    what tasks start.
    """
    for each in target.iterdir():
        name = each.name.partition(".")[0]
        if name in sys.stdlib_module_names and find_spec(name):
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


def _run_uv(wanted: list[str], target: Path, *options: str) -> None:
    program = uv_here()
    if program is None:
        raise EnvironmentNotBuilt(
            f"The snapshot needs {_shown(wanted)}, which this worker has not, and uv is not there to build an "
            "environment with. On the worker: pip install 'autocelery[env]', or install the packages."
        )
    command = [program, "pip", "install", "--quiet", "--no-config", "--no-progress", "--compile-bytecode"]
    command += [*options, "--python", sys.executable, "--target", str(target), "-r", "-"]
    done = _run(command, "\n".join(wanted), target)
    if done is None:
        raise EnvironmentNotBuilt(
            f"{_shown(wanted)} could not be installed within {BUILD_SECONDS:.0f} s. Is the package index reached "
            "from the worker? UV_DEFAULT_INDEX names another, UV_HTTP_TIMEOUT how long it is waited for."
        )
    if done.returncode:
        raise _why(done, wanted, target)


def _run(command: list[str], text: str, folder: Path) -> subprocess.CompletedProcess[str] | None:
    """Run ``command``; ``None`` where it took too long. It ends, with what it started, when this process does."""
    ending, held = os.pipe()
    leashed = [sys.executable, "-I", "-S", leash.__file__, str(ending), *command]
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            leashed, stdin=pipe, stdout=pipe, stderr=pipe,
            text=True, cwd=folder, pass_fds=[ending], start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(ending)
    with process:
        try:
            said, complained = process.communicate(text, BUILD_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        finally:
            os.close(held)
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def _why(done: subprocess.CompletedProcess[str], wanted: list[str], target: Path) -> Exception:
    said = done.stderr or f"nothing, and ended with status {done.returncode}."
    if done.returncode == 128 + signal.SIGXFSZ or any(each in said for each in _NO_ROOM):
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
