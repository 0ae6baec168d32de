"""Packages that a call asks for by name, found by uv beside those that the project needs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from autocelery._env.complaints import why_not
from autocelery._env.installing import uv_here
from autocelery._env.pins import canonical_version
from autocelery._model import Pin
from autocelery.errors import ConfigurationError, LockInvalid

#: Seconds that uv has to find the packages, its index included.
PATIENCE = 60.0


def read(packages: object) -> tuple[str, ...]:
    """Return requirements (PEP 508) as they are compared, sorted, each once.

    Args:
        packages: what somebody wrote.

    Raises:
        ConfigurationError: they are no requirements, or one names an address.
    """
    if isinstance(packages, str | bytes | Mapping) or not isinstance(packages, Collection):
        raise ConfigurationError('packages is no list of requirements such as ["polars==1.*"].')
    found = set()
    for each in packages:
        try:
            requirement = Requirement(each)
        except (InvalidRequirement, TypeError):
            raise ConfigurationError(
                f'packages has {each!r}, which is no requirement. Write them as for pip: "polars", "polars==1.*".'
            ) from None
        if requirement.url:
            raise ConfigurationError(
                f"packages has {requirement.name} from an address, and workers install from their index. Install it "
                "here and import it, or name a version that the index has."
            )
        found.add(str(requirement))
    return tuple(sorted(found))


def added(requirements: Collection[str], pins: Collection[Pin]) -> tuple[Pin, ...]:
    """Return what ``requirements`` need beside ``pins``, themselves included, at one version each, for this Python.

    Args:
        requirements: as `read` returns them.
        pins: what the project needs. Their versions stay.

    Raises:
        LockInvalid: there are no such versions that go together.
        ConfigurationError: uv is not here, which looks for them.
    """
    program = uv_here()
    if program is None:
        raise ConfigurationError(
            "packages=... needs uv here, to find them. Install it: pip install 'autocelery[env]'"
        )
    asked = f"packages={list(requirements)}"
    with tempfile.TemporaryDirectory(prefix="autocelery-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{pin.name}=={pin.version}\n" for pin in pins))
        command = [
            program,
            "pip",
            "compile",
            "-",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--python",
            sys.executable,
        ]
        command += ["--constraint", str(constraints), "--no-build", "--no-python-downloads"]
        try:
            done = subprocess.run(
                command, input="\n".join(requirements), capture_output=True, text=True, timeout=PATIENCE,
                cwd=folder, env=os.environ, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise LockInvalid(
                f"{asked}: the package index did not answer within {PATIENCE:.0f} s. Is it reached from here? "
                "UV_DEFAULT_INDEX names another."
            ) from None
    if done.returncode != 0:
        raise _not_found(asked, " ".join(done.stderr.split()))
    known = {pin.name for pin in pins}
    found = [Requirement(line) for line in done.stdout.splitlines() if line.strip()]
    return tuple(pin for each in found if (pin := _pin(each)).name not in known)


def _not_found(asked: str, said: str) -> LockInvalid:
    if reason := why_not(said):
        return LockInvalid(f"{asked}: {reason[0].removeprefix('its ').capitalize()}. {reason[1]}")
    return LockInvalid(
        f"{asked} does not go together with what the project needs. uv says: {said[-1000:]} Ask for other versions, "
        "or change the project's."
    )


def _pin(requirement: Requirement) -> Pin:
    [specifier] = requirement.specifier
    return Pin(canonicalize_name(requirement.name), canonical_version(specifier.version) or specifier.version)
