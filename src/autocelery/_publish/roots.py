"""Which folders a snapshot is made of, and which import paths it needs: what this interpreter uses now."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from autocelery.errors import ConflictingRoots

#: The environment variable that names the top of the working tree.
VARIABLE = "AUTOCELERY_ROOT"
_MARKERS = ("pyproject.toml", "setup.cfg", "setup.py", "manage.py", "Pipfile", "requirements.txt")


@dataclass(frozen=True, slots=True)
class ShippedRoot:
    """One folder that is shipped; ``name`` is what it is called in the layout."""

    name: str
    top: Path


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders, and the import paths and working directory inside them, relative to the layout."""

    roots: tuple[ShippedRoot, ...]
    paths: tuple[str, ...]
    cwd: str


def top_of(start: Path) -> Path:
    """Return the top of the working tree that ``start`` lies in.

    ``AUTOCELERY_ROOT`` if set; else the git repository; else the nearest
    folder upwards that looks like a project's; else ``start``.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen).resolve()
    return _top(str(start))


@cache
def _top(start: str) -> Path:
    try:
        command = ["git", "-C", start, "rev-parse", "--show-toplevel"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        found = None
    if found is not None and found.returncode == 0 and found.stdout.strip():
        return Path(os.path.realpath(found.stdout.rstrip("\n")))
    here = Path(os.path.realpath(start))
    for folder in (here, *here.parents):
        if any((folder / marker).exists() for marker in _MARKERS):
            return folder
    return here


def roots_of(top: Path, needed: Collection[Path] = ()) -> Roots:
    """Return what is shipped for the tree at ``top``: itself, and the folders outside it that code was imported from.

    Args:
        top: the top of the working tree.
        needed: folders with the source of packages that the project needs, imported or not, installed or not.

    Raises:
        ConflictingRoots: two import paths in different folders provide the same module.
    """
    shipped = [ShippedRoot("tree", top)]
    paths: list[str] = []
    found = list(_import_paths())
    forced = {each for folder in needed for each in _import_folders(folder, found)}
    for entry in [*found, *sorted(forced.difference(found))]:
        inside = _inside(entry, shipped)
        if inside is None:
            if entry not in forced and not _is_used(entry):
                continue
            shipped.append(ShippedRoot(f"root-{len(shipped)}-{entry.name}", entry))
            inside = shipped[-1].name
        if inside not in paths:
            paths.append(inside)
    if "tree" not in paths:
        paths.append("tree")
    _check_conflicts(shipped, paths)
    return Roots(tuple(shipped), tuple(paths), _inside(Path.cwd(), shipped[:1]) or "tree")


def _import_paths() -> Iterator[Path]:
    for entry in [*sys.path, *_editable_folders()]:
        path = Path(os.path.realpath(entry or os.getcwd()))
        if path.is_dir() and not _is_environment(path) and not (path / "autocelery_host").is_dir():
            yield path


def _import_folders(folder: Path, found: list[Path]) -> list[Path]:
    """Return from where in ``folder`` its packages are imported: as now, else as is usual."""
    known = [each for each in found if each == folder or folder in each.parents]
    if known:
        return known
    usual = next((each for each in (folder / "src", folder) if each.is_dir() and any(_provides(each))), None)
    return [usual] if usual else []


def _editable_folders() -> Iterator[str]:
    """Yield the folders of editable installs that hook into import instead of ``sys.path``."""
    for finder in sys.meta_path:
        module = sys.modules.get(str(getattr(finder, "__module__", "")))
        if module is not None and module.__name__.startswith("__editable__"):
            for target in getattr(module, "MAPPING", {}).values():
                yield os.path.dirname(target)


@cache
def _environment_folders() -> tuple[str, ...]:
    found = [*site.getsitepackages(), site.getusersitepackages(), sys.prefix, sys.base_prefix]
    found += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(dict.fromkeys(os.path.realpath(each) for each in found))


def _is_environment(path: Path) -> bool:
    text = str(path)
    if any(text == each for each in _environment_folders()):
        return True
    inside = {"site-packages", "dist-packages", "lib-dynload"}
    return bool(inside & set(path.parts)) or any(path.glob("*.dist-info")) or text in _stdlib()


@cache
def _stdlib() -> frozenset[str]:
    folder = os.path.realpath(sysconfig.get_path("stdlib"))
    return frozenset({folder, os.path.join(folder, "lib-dynload"), os.path.dirname(os.path.dirname(folder))})


def _inside(path: Path, shipped: list[ShippedRoot]) -> str | None:
    for root in shipped:
        if path == root.top:
            return root.name
        if root.top in path.parents:
            return f"{root.name}/{path.relative_to(root.top).as_posix()}"
    return None


def _is_used(entry: Path) -> bool:
    """Whether a module was imported through ``entry``: what nobody imports need not travel."""
    for name, module in list(sys.modules.items()):
        if "." in name or name in ("__main__", "__mp_main__"):
            continue
        places = [str(getattr(module, "__file__", None) or "")]
        places += [f"{each}/__init__.py" for each in getattr(module, "__path__", None) or ()]
        if any(
            place.startswith(f"{entry}/{name}.") or place == f"{entry}/{name}/__init__.py" for place in places
        ):
            return True
    return False


def _check_conflicts(shipped: list[ShippedRoot], paths: list[str]) -> None:
    if len(shipped) == 1:
        return
    tops = {root.name: root.top for root in shipped}
    provided: dict[str, Path] = {}
    for path in paths:
        name, _, rest = path.partition("/")
        folder = tops[name] / rest
        for module in _provides(folder):
            other = provided.setdefault(module, folder)
            if other != folder:
                raise ConflictingRoots(
                    f"Both {other} and {folder} provide the module {module!r}, and only one of them can be "
                    "imported. Rename one, or take one of the folders off sys.path (PYTHONPATH, editable installs)."
                )


def _provides(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        name, dot, suffix = entry.name.partition(".")
        if not name.isidentifier() or name in ("setup", "conftest", "tests", "manage"):
            continue
        if (dot and suffix == "py") or (not dot and os.path.exists(f"{entry.path}/__init__.py")):
            yield name
