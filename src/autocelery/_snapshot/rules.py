"""What `[tool.autocelery]` in a project's pyproject.toml adds to, and leaves out of, its tree."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from autocelery._config import variable_names
from autocelery._snapshot.generated import version_files
from autocelery._tables import TABLES
from autocelery.errors import ConfigurationError

if TYPE_CHECKING:
    import pathspec

_KEYS = ("include", "exclude", "max_size", "environment", "env", "lock")
#: Tables of others below ours: they say nothing about what is shipped.
_OTHERS = ("doctor", *TABLES)
#: Whose packages a snapshot runs with: built where the worker's differ, the worker's as they are, or none of them.
_ENVIRONMENTS = ("build", "worker", "own")
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class ShipRules:
    """Globs relative to the top: ``data/*.csv``, ``**/*.sql``, ``fixtures`` (all below it).

    ``include`` adds what git ignores, ``exclude`` leaves out and has the last
    word; ``max_size`` is in bytes and replaces the limit that `collect` is given.
    ``generated`` are files that build tools write and the code imports, shipped though git ignores them.
    ``environment`` is ``"build"``, ``"worker"``: the worker's own packages, whatever they are, or ``"own"``:
    nothing of the worker's.
    ``env`` names the environment variables that travel with calls. ``lock`` names the file
    that says which packages are needed, relative to the top, or is ``"installed"``. These three say nothing
    about files: rules that differ in nothing else are equal.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_size: int | None = None
    environment: str = field(default="build", compare=False)
    env: tuple[str, ...] = field(default=(), compare=False)
    lock: str | None = field(default=None, compare=False)
    generated: tuple[str, ...] = ()

    @classmethod
    def read(cls, top: Path | str) -> ShipRules:
        """Return the rules in ``top``'s pyproject.toml, or those that change nothing if it has none.

        Raises:
            ConfigurationError: the file is no TOML, or a key makes no sense; the message names it.
        """
        path = os.path.join(os.path.abspath(top), "pyproject.toml")
        try:
            status = os.stat(path)
        except OSError:
            return cls()
        return _read(path, (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))

    def includes(self, path: str) -> bool:
        """Tell whether ``path`` is added although git ignores it."""
        if path in self.generated:
            return True
        return bool(self.include) and _compiled(self.include).match_file(path)

    def excludes(self, path: str) -> bool:
        """Tell whether ``path`` is left out."""
        return bool(self.exclude) and _compiled(self.exclude).match_file(path)

    def names(self, path: str) -> bool:
        """Tell whether ``include`` means this very file, not just everything where it lies."""
        specific = tuple(glob for glob in self.include if glob.rsplit("/", 1)[-1].strip("*"))
        if not specific or not _compiled(specific).match_file(path):
            return False
        folder = path.rpartition("/")[0]
        # A glob that also matches the folder means "all of it", which names no file.
        return not folder or not _compiled(specific).match_file(folder)

    def leads_to(self, folder: str, is_junk: bool = False) -> bool:
        """Tell whether files below ``folder`` can be included.

        Args:
            folder: relative to the top.
            is_junk: whether it is one that a wildcard does not mean, such as ``node_modules``.
        """
        parts = folder.split("/")
        return any(_leads_to(glob.split("/"), parts, is_junk) for glob in self.include)

    @property
    def include_folders(self) -> tuple[str, ...]:
        """The folders, relative to the top, below which included files can lie."""
        return tuple(sorted({_fixed_part(glob) for glob in (*self.include, *self.generated)}))


@lru_cache(maxsize=64)
def _compiled(globs: tuple[str, ...]) -> pathspec.GitIgnoreSpec:
    import pathspec  # 70 ms, which only projects with globs have to pay

    return pathspec.GitIgnoreSpec.from_lines([f"/{glob}" for glob in globs])


@lru_cache(maxsize=64)
def _read(path: str, _signature: tuple[int, ...]) -> ShipRules:
    try:
        with open(path, "rb") as file:
            tool = tomllib.load(file).get("tool", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
    table = tool.get("autocelery", {}) if isinstance(tool, Mapping) else {}
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"tool.autocelery in {path} is not a table. Write [tool.autocelery].")
    for key in table:
        if key not in _KEYS and key not in _OTHERS:
            raise ConfigurationError(_unknown(key, path))
    return ShipRules(
        include=_globs(table.get("include", []), "include", path),
        exclude=_globs(table.get("exclude", []), "exclude", path),
        max_size=_size(table.get("max_size"), path),
        environment=_environment(table.get("environment", "build"), path),
        env=variable_names(table.get("env", []), f"tool.autocelery.env in {path}"),
        lock=_lock(table.get("lock"), path),
        generated=version_files(tool) if isinstance(tool, Mapping) else (),
    )


def _unknown(key: str, path: str) -> str:
    known = (*_KEYS, *_OTHERS)
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else f" The keys are {', '.join(known)}."
    return f"tool.autocelery.{key} in {path} is no setting.{hint}"


def _globs(value: object, key: str, path: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
        raise ConfigurationError(
            f'tool.autocelery.{key} in {path} is not a list of texts such as ["data/*.csv"].'
        )
    return tuple(_glob(glob, key, path) for glob in value)


def _glob(glob: str, key: str, path: str) -> str:
    clean = glob.strip().removeprefix("./").rstrip("/")
    if not clean or clean.startswith(("/", "!", "#")) or ".." in clean.split("/") or "\\" in clean:
        raise ConfigurationError(
            f"tool.autocelery.{key} in {path} has {glob!r}, which is no glob inside the tree. Write it "
            "relative to the folder of pyproject.toml, with forward slashes."
        )
    try:
        _compiled((clean,))
    except (ValueError, re.error) as error:  # such as [z-a]
        raise ConfigurationError(f"tool.autocelery.{key} in {path} has {glob!r}: {error}") from None
    return clean


def _size(value: object, path: str) -> int | None:
    if value is None:
        return None
    if type(value) is int and value > 0:
        return value
    text = str(value).strip().lower().removesuffix("b") if isinstance(value, str) else ""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "")
    if number.isdecimal() and int(number) > 0:
        return int(number) * _UNITS.get(unit, 1)
    raise ConfigurationError(
        f'tool.autocelery.max_size in {path} is no size. Write bytes, or "200m", or "2g".'
    )


def _environment(value: object, path: str) -> str:
    if value not in _ENVIRONMENTS:
        raise ConfigurationError(
            f"tool.autocelery.environment in {path} is {value!r}. It is one of: {', '.join(_ENVIRONMENTS)}."
        )
    return str(value)


def _lock(value: object, path: str) -> str | None:
    if value is None or (isinstance(value, str) and value.strip() and "\0" not in value):
        return value
    raise ConfigurationError(
        f"tool.autocelery.lock in {path} is {value!r}. It is the path of a lock file, relative to that of "
        'pyproject.toml, or "installed".'
    )


def _leads_to(glob: list[str], folder: list[str], is_junk: bool) -> bool:
    for number, part in enumerate(folder):
        if number == len(glob):  # it names a folder above this one, and means all that is below
            return True
        if glob[number] == "**":
            return not is_junk or folder[-1] in glob[number:]
        if glob[number] == part:
            continue
        if not fnmatchcase(part, glob[number]) or (is_junk and number == len(folder) - 1):
            return False
    return True


def _fixed_part(glob: str) -> str:
    """Return the folders before the first wildcard; a glob without one may name a folder itself."""
    parts = glob.split("/")
    fixed = []
    for part in parts:
        if _WILD & set(part):
            break
        fixed.append(part)
    if len(fixed) == len(parts):
        fixed.pop()
    return "/".join(fixed)
