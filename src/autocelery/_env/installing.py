"""Packages into a folder, with uv."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from autocelery._env.comparing import missing_in
from autocelery._env.complaints import why_not
from autocelery._env.inspecting_wheels import package_outside, refuse_files_outside, refuse_startup_files
from autocelery._env.interpreters import Interpreter
from autocelery._env.leashed import leashed
from autocelery._model import Pin
from autocelery.errors import DiskFull, EnvironmentNotBuilt, PackageAltered

#: Seconds that a build may take.
BUILD_SECONDS = 600.0
#: An index that says nothing for 20 seconds, three times, is given up; unless uv is told otherwise.
_PATIENCE = {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "2"}
#: What uv leaves out of a wheel it says in its log only.
_LOG = {"RUST_LOG": "warn,uv_install_wheel=debug"}
#: uv's words, since 0.1.
_ALTERED = re.compile(
    r"Hash mismatch for `(?P<package>[^`]+)`\s+Expected:\s+(?P<expected>.*?)\s+"
    r"Computed:\s+(?P<computed>(?:sha\S+\s*)+)",
    re.DOTALL,
)
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

    Of a pin with hashes only a file with one of them is installed; uv compares where a requirement gives any.

    Raises:
        EnvironmentNotBuilt: uv is not here, or could not install them.
        PackageAltered: a file that was served has none of the hashes.
        DiskFull: there is no room.
    """
    install_into(pins, target, target)
    _remove_shadows(target)


def install_into(
    pins: Collection[Pin], target: Path, site: Path, interpreter: Interpreter | None = None
) -> None:
    """Install the pins, and what they need on this platform only, beside nothing else.

    Args:
        pins: each exactly.
        target: the folder that is being made.
        site: where in it the packages are.
        interpreter: whose venv ``target`` is; else it is a plain folder, for this process's interpreter.

    Raises:
        EnvironmentNotBuilt: uv is not here, or could not install them.
        PackageAltered: a file that was served has none of the hashes.
        DiskFull: there is no room.
    """
    if interpreter is None:
        where = ["--python", sys.executable, "--target", str(target)]
    else:
        where = ["--python", str(target / "bin" / "python")]
    exactly = [
        " ".join([f"{pin.name}=={pin.version}", *(f"--hash={each}" for each in pin.hashes)]) for pin in pins
    ]
    _install(exactly, target, "--no-deps", *where)
    refuse_startup_files(site)  # before an interpreter is started there
    missing = missing_in(site, interpreter)
    if missing:
        pinned = target.with_suffix(".pins")
        try:
            pinned.write_text("\n".join(exactly))
            _install(missing, target, "--constraint", str(pinned), *where)
            refuse_startup_files(site)
        finally:
            pinned.unlink(missing_ok=True)


def make_venv(pins: Collection[Pin], target: Path, interpreter: Interpreter) -> None:
    """Make an empty venv of ``interpreter`` in the folder ``target``; it may be moved later.

    Args:
        pins: what it is for, to be named should it fail.
        target: an empty folder.
        interpreter: a Python that is here.

    Raises:
        EnvironmentNotBuilt: uv is not here, or could not make it.
        DiskFull: there is no room.
    """
    options = ["--relocatable", "--no-project", "--allow-existing", "--no-python-downloads"]
    wanted = [f"{pin.name}=={pin.version}" for pin in pins]
    _run_uv(["venv", *options, "--python", interpreter.path, str(target)], wanted, target)


def _remove_shadows(target: Path) -> None:
    """Remove modules that the standard library has.

    Nobody imports them from site-packages, which come after it. What is here comes before it, for the sake of
    what tasks start.
    """
    for each in target.iterdir():
        name = each.name.partition(".")[0]
        if name in sys.stdlib_module_names and find_spec(name):
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


def _install(wanted: list[str], target: Path, *options: str) -> None:
    _run_uv(["pip", "install", *options, "-r", "-"], wanted, target)


def _run_uv(subcommand: list[str], wanted: list[str], target: Path) -> None:
    program = uv_here()
    if program is None:
        raise EnvironmentNotBuilt(
            f"The snapshot needs {_shown(wanted)}, which this worker has not, and uv is not there to build an "
            "environment with. On the worker: pip install 'autocelery[env]', or install the packages."
        )
    command = [program, *subcommand, "--quiet", "--no-config", "--no-progress"]
    done = _run(command, "\n".join(wanted), target)
    if done is None:
        raise EnvironmentNotBuilt(
            f"{_shown(wanted)} could not be installed within {BUILD_SECONDS:.0f} s. Is the package index reached "
            "from the worker? UV_DEFAULT_INDEX names another, UV_HTTP_TIMEOUT how long it is waited for."
        )
    if done.returncode:
        raise _why(done, wanted, target)
    package = package_outside(done.stderr)
    if package is not None:  # else uv would not say it again
        _run([program, "cache", "clean", "--quiet", package], "", target, seconds=10.0)
    refuse_files_outside(done.stderr, _shown(wanted))


def _run(
    command: list[str], text: str, folder: Path, seconds: float | None = None
) -> subprocess.CompletedProcess[str] | None:
    """Run ``command``; ``None`` where it took too long. It ends, with what it started, when this process does."""
    pipe = subprocess.PIPE
    with leashed(
        command, stdin=pipe, stdout=pipe, stderr=pipe,
        text=True, cwd=folder, env={**_PATIENCE, **os.environ, **_LOG},
    ) as process:  # fmt: skip
        try:
            said, complained = process.communicate(text, BUILD_SECONDS if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            return None
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def _why(done: subprocess.CompletedProcess[str], wanted: list[str], target: Path) -> Exception:
    said = _without_log(done.stderr) or f"nothing, and ended with status {done.returncode}."
    if done.returncode == 128 + signal.SIGXFSZ or any(each in said for each in _NO_ROOM):
        return DiskFull(
            f"The disk of {target.parent.parent} has no room for an environment with {_shown(wanted)}. Free some, "
            "or move it with AUTOCELERY_HOME."
        )
    if found := _ALTERED.search(said):
        expected, computed = (" or ".join(found[part].split()) for part in ("expected", "computed"))
        return PackageAltered(
            f"{found['package']} that this worker was served is not the one that is locked: its hash is {computed}, "
            f"and the lock where the call was made admits {expected[:600]}. Does the worker's index have another "
            "build of it? If that one is right, lock it again; else point UV_DEFAULT_INDEX there at the right index."
        )
    if reason := why_not(" ".join(said.split())):
        return EnvironmentNotBuilt(
            f"This worker could not install {_shown(wanted)}: {reason[0]}. {reason[1]}"
        )
    return EnvironmentNotBuilt(
        f"This worker could not install {_shown(wanted)}. uv says: {' '.join(said.split())[-1500:]} Install them "
        "on the worker, or call with versions that it can get."
    )


def _without_log(said: str) -> str:
    return "\n".join(line for line in said.splitlines() if not line.startswith(("DEBUG ", "WARN ")))


def _shown(requirements: list[str]) -> str:
    wanted = [each.partition(" --hash")[0] for each in requirements]
    return ", ".join(wanted[:8]) + (f" and {len(wanted) - 8} more" if len(wanted) > 8 else "")
