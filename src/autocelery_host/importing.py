"""How a host becomes the interpreter that its snapshot expects, and imports its app.

After a fork the process holds the worker's third-party modules and nothing of
anybody's project. What is set here is what a fresh ``python`` in the author's
working tree would have: import path, working directory, ``__main__``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import marshal
import os
import re
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from autocelery.errors import PackageMismatch, PackageMissing

_NEVER_FORGOTTEN = frozenset({"autocelery", "autocelery_host", "celery", "kombu", "billiard", "vine", "amqp"})


def enter(folder: Path, paths: Sequence[str], cwd: str, compiled: Path, overlay: str | None = None) -> None:
    """Make this process the interpreter of the snapshot that is laid out in ``folder``.

    Args:
        folder: the snapshot's own folder.
        paths: its ``sys.path`` entries, relative to ``folder``.
        cwd: its working directory, relative to ``folder``.
        compiled: where compiled code is kept, by the digest of its source.
        overlay: a folder of packages that goes before the worker's own.
    """
    os.chdir(folder / cwd)
    if overlay is not None and overlay not in sys.path:
        sys.path.insert(0, overlay)
        inherited = os.environ.get("PYTHONPATH")  # what a task starts has the overlay too
        os.environ["PYTHONPATH"] = f"{overlay}{os.pathsep}{inherited}" if inherited else overlay
    third_party = [each for each in sys.path if _is_third_party(each)]
    sys.path[:] = [*(str(folder / each) for each in paths), *third_party, *_own_folder(third_party)]
    sys.meta_path[:] = [each for each in sys.meta_path if not _is_editable_finder(each)]
    sys.path_hooks.insert(0, _path_hook(folder, compiled))
    sys.path_importer_cache.clear()
    sys.dont_write_bytecode = True
    _forget_shadowed([folder / each for each in paths])
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = [""]
    if "numpy" in sys.modules:  # its global generator was seeded before the fork
        sys.modules["numpy"].random.seed()


def guard_packages(packages: Sequence[tuple[str, str, str, str | None]]) -> None:
    """Refuse the import of packages that the worker lacks or has in another major version.

    Args:
        packages: ``(module, distribution, version where the snapshot was made, version here)``.
    """
    fitting = {each[0] for each in packages if each[3] and _major(each[3]) == _major(each[2])}
    # Of a namespace package, the part that fits may be the one that is imported.
    differing = {each[0]: each for each in packages if each[3] and each[0] not in fitting}
    for module in differing:
        _forget(module)
    sys.meta_path.insert(0, _MismatchFinder(differing))
    sys.meta_path.append(_MissingFinder({each[0]: each for each in packages}))


def third_party_modules(since: frozenset[str]) -> list[str]:
    """Return the modules outside ``since`` that came from the worker's environment, in the order of their import."""
    prefixes = tuple(f"{each}{os.sep}" for each in site_folders())
    return [
        name
        for name, module in list(sys.modules.items())
        if name not in since and str(getattr(module, "__file__", None) or "").startswith(prefixes)
    ]


class _MismatchFinder(importlib.abc.MetaPathFinder):
    def __init__(self, differing: Mapping[str, tuple[str, str, str, str | None]]) -> None:
        self._differing = differing

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname not in self._differing:
            return
        _, distribution, theirs, here = self._differing[fullname]
        raise PackageMismatch(
            f"The snapshot imports {fullname!r} of {distribution} {theirs}, and this worker has {distribution} "
            f"{here}. Install {distribution}=={theirs} on the worker, or {distribution}=={here} where you call from."
        )


class _MissingFinder(importlib.abc.MetaPathFinder):
    def __init__(self, wanted: Mapping[str, tuple[str, str, str, str | None]]) -> None:
        self._wanted = wanted

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname not in self._wanted:
            return
        _, distribution, theirs, here = self._wanted[fullname]
        raise PackageMissing(
            f"The snapshot imports {fullname!r} of {distribution} {theirs}, which this worker lacks "
            f"({distribution}: {here or 'not installed'}). Install {distribution}=={theirs} on the worker "
            "and start it again."
        )


class _SnapshotLoader(importlib.machinery.SourceFileLoader):
    """Loads source whose compiled form is kept by its content, so that an edit compiles one file."""

    compiled: Path

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        source = self.get_data(path)
        kept = self.compiled / f"{hashlib.sha256(source).hexdigest()}.{sys.implementation.cache_tag}"
        code = _kept_code(kept)
        if code is None:
            code = self.source_to_code(source, path)
            _keep(kept, marshal.dumps(code))
            return code
        return _relocated(code, path)


def _kept_code(kept: Path) -> types.CodeType | None:
    with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
        code = marshal.loads(kept.read_bytes())
        return code if isinstance(code, types.CodeType) else None
    return None


def _relocated(code: types.CodeType, path: str) -> types.CodeType:
    constants = tuple(
        _relocated(each, path) if isinstance(each, types.CodeType) else each for each in code.co_consts
    )
    return code.replace(co_filename=path, co_consts=constants)


def _keep(kept: Path, data: bytes) -> None:
    scratch = kept.with_suffix(f".{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(data)
        scratch.replace(kept)
    except OSError:  # a full or read-only disk costs a compilation, nothing more
        scratch.unlink(missing_ok=True)


def _path_hook(folder: Path, compiled: Path) -> Callable[[str], importlib.abc.PathEntryFinder]:
    loader = type("SnapshotLoader", (_SnapshotLoader,), {"compiled": compiled})
    details = [
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
        (loader, importlib.machinery.SOURCE_SUFFIXES),
    ]
    make = importlib.machinery.FileFinder.path_hook(*details)
    inside = f"{folder}{os.sep}"

    def hook(path: str) -> importlib.abc.PathEntryFinder:
        if not f"{path}{os.sep}".startswith(inside):
            raise ImportError("not of this snapshot")
        return make(path)

    return hook


@cache
def site_folders() -> tuple[str, ...]:
    """Return where third-party packages are installed; a zygote asks, so that its hosts know."""
    found = [*site.getsitepackages(), site.getusersitepackages()]
    found += [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    found += [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if _holds_packages(each)]
    return tuple(dict.fromkeys(os.path.realpath(each) for each in found))


@cache
def standard_folders() -> frozenset[str]:
    """Return where the standard library is; in a venv that is the base interpreter's."""
    pure = sysconfig.get_path("stdlib")
    binary = sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix})
    found = [pure, binary, os.path.join(pure, "lib-dynload"), os.path.join(binary, "lib-dynload")]
    return frozenset(os.path.realpath(each) for each in found)


def _is_third_party(entry: str) -> bool:
    """Whether a ``sys.path`` entry of the worker is its environment, not somebody's project.

    A folder of ``pip install --target`` on PYTHONPATH is; the deployed project
    on PYTHONPATH, or an editable install of it, is not.
    """
    real = os.path.realpath(entry)
    if real in standard_folders() or real.endswith(".zip") or real in site_folders():
        return True
    return _holds_packages(real)


def _holds_packages(folder: str) -> bool:
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder or os.devnull))
    except OSError:
        return False


def _own_folder(third_party: Sequence[str]) -> list[str]:
    """Return where autocelery is, if it is an editable install: a process that a task starts imports it anew."""
    own = str(Path(__file__).resolve().parents[1])
    return [] if own in map(os.path.realpath, third_party) else [own]


def _is_editable_finder(finder: object) -> bool:
    return str(getattr(finder, "__module__", "")).startswith("__editable__")


def _forget_shadowed(folders: Sequence[Path]) -> None:
    """Unload what the zygote imported under names that the snapshot itself provides."""
    for folder in folders:
        try:
            names = {each.split(".", 1)[0] for each in os.listdir(folder)}
        except FileNotFoundError:
            continue
        for name in names - _NEVER_FORGOTTEN:
            if name in sys.modules and name not in sys.stdlib_module_names:
                _forget(name)


def _forget(name: str) -> None:
    for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[each]


def _major(version: str) -> str:
    found = re.match(r"(?:\d+!)?(\d+)", version)
    return found.group(1) if found else version
