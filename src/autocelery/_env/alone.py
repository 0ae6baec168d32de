"""Environments that stand alone: a venv with the snapshot's own Celery, and nothing of the worker's packages."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from packaging.specifiers import SpecifierSet

from autocelery._env.comparing import clashes, needs_of_celery
from autocelery._env.installing import install_into, make_venv
from autocelery._env.interpreters import Interpreter
from autocelery._model import Pin
from autocelery.errors import EnvironmentMismatch

#: The versions of Celery that hosts run with.
CELERY = SpecifierSet(">=5.4,<5.8")
#: Without these no host starts.
_REQUIRED = ("amqp", "billiard", "celery", "kombu", "vine")


def refuse_impossible(pins: Collection[Pin]) -> None:
    """Refuse what no host could start with, before anything is built.

    Raises:
        EnvironmentMismatch: it has no Celery, or one that autocelery does not work with.
    """
    reason = why_impossible(pins)
    if reason:
        raise EnvironmentMismatch(reason)


def why_impossible(pins: Collection[Pin]) -> str:
    """Return why no host could start in an environment with ``pins`` alone, and the mend; nothing where it could."""
    versions = {pin.name: pin.version for pin in pins}
    if "celery" in versions and not CELERY.contains(versions["celery"], prereleases=True):
        return (
            f"The snapshot brings Celery {versions['celery']}, and hosts run with Celery {CELERY}. Install one of "
            'these where you call from, or let it run with the worker\'s: environment = "build" in [tool.autocelery].'
        )
    missing = [name for name in _REQUIRED if name not in versions]
    if missing:
        return (
            f"The snapshot asks for an environment of its own and does not say which {', '.join(missing)}. Install "
            "Celery from an index where you call from, not from a folder or a repository, or let it run with the "
            'worker\'s: environment = "build" in [tool.autocelery].'
        )
    return ""


def install_alone(pins: Collection[Pin], target: Path, interpreter: Interpreter) -> None:
    """Make a venv of ``interpreter`` in the empty folder ``target``, and install the pins into it.

    Raises:
        EnvironmentNotBuilt: uv is not here, or could not install them.
        EnvironmentMismatch: the Celery among them cannot run with the others.
        DiskFull: there is no room.
    """
    make_venv(pins, target, interpreter)
    site = site_of(target, interpreter)
    for each in site.iterdir():  # what uv adds for the sake of pip
        if each.name.startswith("_virtualenv."):
            each.unlink()
    install_into(pins, target, site, interpreter)
    clashing = clashes(pins, needs_of_celery(path=[str(site)], markers=interpreter.markers))
    if clashing:
        raise EnvironmentMismatch(
            f"The snapshot brings a Celery that cannot run with what else it brings: {'. '.join(clashing)}. "
            "`pip check` where you call from names what to change."
        )


def python_of(place: Path) -> Path:
    """Return the program that runs in the environment at ``place``."""
    return place / "bin" / "python"


def site_of(place: Path, interpreter: Interpreter) -> Path:
    """Return where the environment at ``place`` has its packages."""
    return place / "lib" / f"python{interpreter.minor}" / "site-packages"
