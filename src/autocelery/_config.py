"""Settings: their defaults, and where each one came from."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

#: Largest tree that is shipped, in bytes, unless AUTOCELERY_TREE_MAX says otherwise.
DEFAULT_TREE_MAX = 2 * 2**30
#: Size to which a worker's blob cache is kept, in bytes (AUTOCELERY_CACHE_MAX).
DEFAULT_CACHE_MAX = 2 * 2**30
#: How many idle hosts one pool process keeps warm (AUTOCELERY_WARM_HOSTS).
DEFAULT_WARM_HOSTS = 4
#: How many calls one host runs before it is replaced (AUTOCELERY_HOST_MAX_CALLS).
DEFAULT_HOST_MAX_CALLS = 10_000
#: Resident memory, in bytes, past which an idle host is replaced; 0: no limit (AUTOCELERY_HOST_MAX_MEMORY).
DEFAULT_HOST_MAX_MEMORY = 0
#: Seconds after which a host without calls ends by itself (AUTOCELERY_HOST_IDLE).
DEFAULT_HOST_IDLE = 600
#: How long a signature is valid, in seconds (AUTOCELERY_SIGNATURE_DAYS).
DEFAULT_SIGNATURE_DAYS = 30

#: Bytes that the names and values of the variables of one call may have together.
VARIABLES_MAX = 256 * 2**10

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
#: What an environment can have as the name of a variable, and JSON as a text.
_VARIABLE_NAME = re.compile("[^=\x00\ud800-\udfff]+")
#: Variables that say how this machine runs autocelery: elsewhere they would be wrong.
_OWN_PREFIX = "AUTOCELERY_"


class Home(NamedTuple):  # a probe reads it, which has no time for dataclasses
    """Where keys and caches live: ``AUTOCELERY_HOME``, else the platform's user folders."""

    keys: Path
    cache: Path

    @property
    def client(self) -> Path:
        """What the caller's side remembers: stat caches, what was uploaded."""
        return self.cache / "client"

    @property
    def worker(self) -> Path:
        """What the worker's side keeps: blobs, layouts, compiled code."""
        return self.cache / "worker"


def home() -> Home:
    """Return the folders for keys and caches, which need not exist yet."""
    chosen = os.environ.get("AUTOCELERY_HOME")
    if chosen:
        base = Path(chosen).expanduser().absolute()
        return Home(keys=base / "keys", cache=base / "cache")
    if sys.platform == "linux" and "ANDROID_DATA" not in os.environ:
        return Home(
            keys=_xdg("XDG_DATA_HOME", "~/.local/share") / "keys", cache=_xdg("XDG_CACHE_HOME", "~/.cache")
        )
    import platformdirs  # which says the same of Linux, and takes longer to import than a probe has: see Home

    return Home(
        keys=Path(platformdirs.user_data_dir("autocelery")) / "keys",
        cache=Path(platformdirs.user_cache_dir("autocelery")),
    )


def _xdg(variable: str, default: str) -> Path:
    """Return the folder for autocelery below one of the XDG Base Directory Specification."""
    return Path(os.environ.get(variable, "").strip() or default).expanduser() / "autocelery"


def size_setting(name: str, default: int) -> int:
    """Return the size in bytes that the variable ``name`` gives: ``200m``, ``2g``, ``1048576``.

    Raises:
        ConfigurationError: the value is not a size.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    size = size_of(text)
    if size is None:
        raise _wrong(f"{name}={os.environ[name]!r} is not a size. Write bytes, or 200m, or 2g.")
    return size


def size_of(text: str) -> int | None:
    """Return the bytes that a size such as ``200m``, ``2g`` or ``1048576`` says; ``None`` if it is none."""
    told = text.strip().lower().removesuffix("b").strip()
    number, unit = (told[:-1], told[-1]) if told[-1:] in ("k", "m", "g") else (told, "")
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        return None


def builds_environments() -> bool:
    """Return whether a worker builds environments (AUTOCELERY_ENV_POLICY: ``build``, the default, or ``never``).

    Raises:
        ConfigurationError: the value is neither.
    """
    text = os.environ.get("AUTOCELERY_ENV_POLICY", "").strip().lower() or "build"
    if text not in ("build", "never"):
        raise _wrong(f"AUTOCELERY_ENV_POLICY={text!r} is neither build nor never.")
    return text == "build"


def count_setting(name: str, default: int) -> int:
    """Return the whole number that the variable ``name`` gives.

    Raises:
        ConfigurationError: the value is not a whole number, or is negative.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal():
        raise _wrong(f"{name}={text!r} is not a whole number.")
    return int(text)


def is_variable_name(name: object) -> bool:
    """Whether an environment can have a variable of this name."""
    return isinstance(name, str) and _VARIABLE_NAME.fullmatch(name) is not None


def variable_names(names: object, where: str = "env") -> tuple[str, ...]:
    """Return ``names`` if they are names of environment variables that can travel with a call.

    Args:
        names: what somebody wrote.
        where: in what, for the error.

    Raises:
        ConfigurationError: they are not.
    """
    if isinstance(names, str | bytes | Mapping) or not isinstance(names, Collection):
        raise _wrong(
            f'{where} is no list of names such as ["API_KEY"]. Values are never written there: each is read from the '
            "environment that a call is sent from."
        )
    for name in names:
        if not is_variable_name(name):
            shown = str(name).partition("=")[0]  # what follows may be a value
            raise _wrong(
                f"{where} has {shown!r} with more than a name. Write the name of an environment variable alone: its "
                "value is read from the environment."
            )
        if name.startswith(_OWN_PREFIX):
            raise _wrong(
                f"{where} has {name!r}, which says how autocelery runs on this machine, and does not travel. Set it "
                "where the workers run."
            )
    return tuple(names)


def _wrong(message: str) -> Exception:
    from autocelery.errors import (
        ConfigurationError,  # which brings Celery along: a probe has no time for that
    )

    return ConfigurationError(message)
