"""Settings: their defaults, and where each one came from."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from autocelery.errors import ConfigurationError

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


@dataclass(frozen=True, slots=True)
class Home:
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
    return Home(
        keys=Path(platformdirs.user_data_dir("autocelery")) / "keys",
        cache=Path(platformdirs.user_cache_dir("autocelery")),
    )


def size_setting(name: str, default: int) -> int:
    """Return the size in bytes that the variable ``name`` gives: ``200m``, ``2g``, ``1048576``.

    Raises:
        ConfigurationError: the value is not a size.
    """
    text = os.environ.get(name, "").strip().lower().removesuffix("b")
    if not text:
        return default
    number, unit = (text[:-1], text[-1]) if text[-1] in "kmg" else (text, "")
    try:
        return int(float(number) * _UNITS[unit])
    except ValueError:
        raise ConfigurationError(
            f"{name}={os.environ[name]!r} is not a size. Write bytes, or 200m, or 2g."
        ) from None


def builds_environments() -> bool:
    """Return whether a worker builds environments (AUTOCELERY_ENV_POLICY: ``build``, the default, or ``never``).

    Raises:
        ConfigurationError: the value is neither.
    """
    text = os.environ.get("AUTOCELERY_ENV_POLICY", "").strip().lower() or "build"
    if text not in ("build", "never"):
        raise ConfigurationError(f"AUTOCELERY_ENV_POLICY={text!r} is neither build nor never.")
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
        raise ConfigurationError(f"{name}={text!r} is not a whole number.")
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
        raise ConfigurationError(
            f'{where} is no list of names such as ["API_KEY"]. Values are never written there: each is read from the '
            "environment that a call is sent from."
        )
    for name in names:
        if not is_variable_name(name):
            shown = str(name).partition("=")[0]  # what follows may be a value
            raise ConfigurationError(
                f"{where} has {shown!r} with more than a name. Write the name of an environment variable alone: its "
                "value is read from the environment."
            )
        if name.startswith(_OWN_PREFIX):
            raise ConfigurationError(
                f"{where} has {name!r}, which says how autocelery runs on this machine, and does not travel. Set it "
                "where the workers run."
            )
    return tuple(names)
