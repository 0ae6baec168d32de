"""Finding the Celery app: as ``celery -A`` does, and without it as Celery, Flask and Django would."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery
from celery.app.utils import find_app as celery_find_app

from autocelery.errors import AppNotFound

_ATTRIBUTES = ("celery_app", "celery", "app")
_FILES = ("app.py", "tasks.py", "wsgi.py", "make_celery.py", "main.py")
_IN_PACKAGES = ("celery.py", "celery_app.py")
_SETTINGS_IN_MANAGE = re.compile(r"""DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)["']""")


@dataclass(frozen=True, slots=True)
class Found:
    """An app and what to write after ``-A`` to get it."""

    name: str
    app: Any


def find_app(name: str | None, leaving_out: Path | None = None) -> Any:
    """Return the Celery app of that name, or the one that is evidently meant.

    Args:
        name: what followed ``-A``; ``None`` to look around in the current folder.
        leaving_out: a file that is not imported while looking around.

    Raises:
        AppNotFound: there is none, there are several, or its module does not import.
    """
    return _named(name) if name else _around(leaving_out)


def _named(name: str) -> Any:
    try:
        found = celery_find_app(name)
    except ModuleNotFoundError as error:
        if ":" in name and error.name == name:  # Celery's last resort when the attribute is missing
            raise AppNotFound(_no_attribute(*name.split(":", 1))) from error
        if not _is_part(error.name, name):
            raise AppNotFound(_broken(name, error)) from error
        raise AppNotFound(_no_module(str(error.name))) from error
    except AttributeError as error:
        raise AppNotFound(_no_attribute(name, "app")) from error
    except (Exception, SystemExit) as error:
        raise AppNotFound(_broken(name, error)) from error
    if isinstance(found, Celery):
        return found
    inside = _in_flask(found)
    if inside is None:
        raise AppNotFound(
            f"{name} is a {type(found).__name__}, not a Celery app. Name it: -A module:attribute"
        )
    return inside


def _around(leaving_out: Path | None) -> Any:
    """Return the one app that the current folder has."""
    found: dict[int, Found] = {}
    failures: list[str] = []
    passed_over = leaving_out.stem if leaving_out and leaving_out.absolute().parent == Path.cwd() else None
    for module in dict.fromkeys(_likely_modules(Path.cwd())):
        if module == passed_over:
            continue
        try:
            app = _in_module(importlib.import_module(module), module)
        except ModuleNotFoundError as error:
            if not _is_part(error.name, module):
                failures.append(_broken(module, error))
            continue
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may raise anything
            failures.append(_broken(module, error))
            continue
        if app is not None:
            found.setdefault(id(app.app), app)
    if len(found) == 1:
        return next(iter(found.values())).app
    if found:
        names = "\n".join(f"  -A {each.name}" for each in found.values())
        raise AppNotFound(f"There are several Celery apps in {Path.cwd()}. Say which:\n{names}")
    raise AppNotFound("\n".join([_nothing(Path.cwd()), *failures]))


def _likely_modules(here: Path) -> Iterator[str]:
    """Yield the modules that may hold the app; none is imported that does not mention Celery."""
    settings = os.environ.get("DJANGO_SETTINGS_MODULE") or _settings_of_manage(here)
    if settings:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
        for end in range(settings.count("."), 0, -1):
            package = ".".join(settings.split(".")[:end])
            yield from (f"{package}.{name.removesuffix('.py')}" for name in _IN_PACKAGES)
    flask = os.environ.get("FLASK_APP", "").partition(":")[0]
    if flask:
        yield flask.removesuffix(".py").replace("/", ".")
    for name in _FILES:
        if _mentions_celery(here / name):
            yield name.removesuffix(".py")
    for folder in sorted(path for path in here.iterdir() if path.name.isidentifier() and path.is_dir()):
        for name in _IN_PACKAGES:
            if _mentions_celery(folder / name):
                yield f"{folder.name}.{name.removesuffix('.py')}"


def _settings_of_manage(here: Path) -> str | None:
    try:
        match = _SETTINGS_IN_MANAGE.search((here / "manage.py").read_text(errors="replace"))
    except OSError:
        return None
    return match.group(1) if match else None


def _mentions_celery(path: Path) -> bool:
    try:
        return "celery" in path.read_text(errors="replace").lower()
    except OSError:
        return False


def _in_module(module: ModuleType, name: str) -> Found | None:
    members = vars(module)
    for attribute in (*_ATTRIBUTES, *members):
        value = members.get(attribute)
        if isinstance(value, Celery):
            return Found(f"{name}:{attribute}", value)
    for attribute, value in list(members.items()):
        inside = _in_flask(value)
        if inside is not None:
            return Found(f"{name}:{attribute}", inside)
    return None


def _in_flask(value: object) -> Celery | None:
    """Return the app that a Flask application carries, as Flask's documentation has it."""
    extensions = getattr(value, "extensions", None) if not isinstance(value, type) else None
    found = extensions.get("celery") if isinstance(extensions, dict) else None
    return found if isinstance(found, Celery) else None


def _is_part(missing: str | None, name: str) -> bool:
    """Return whether the missing module is the one asked for, and not one that it imports."""
    module = name.partition(":")[0]
    return missing is not None and (module == missing or module.startswith(f"{missing}."))


def _no_attribute(module: str, attribute: str) -> str:
    return f"{module} has no attribute {attribute!r} that is a Celery app. Name another: -A {module}:app"


def _no_module(missing: str) -> str:
    near = difflib.get_close_matches(missing, _importable_here(Path.cwd()), n=1, cutoff=0.7)
    hint = (
        f" Did you mean -A {near[0]}?" if near else " Go to the project's folder, or name it with --workdir."
    )
    return f"There is no module {missing} in {Path.cwd()} or the installed packages.{hint}"


def _importable_here(here: Path) -> list[str]:
    files = [path.stem for path in here.glob("*.py")]
    return files + [path.parent.name for path in here.glob("*/__init__.py")]


def _broken(name: str, error: BaseException) -> str:
    """Tell where importing the module failed: the frames of the user's own files."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and not _is_ours(frame.filename)]
    shown = "".join(traceback.format_list(own) + traceback.format_exception_only(error)).rstrip()
    return f"Importing {name} failed:\n{shown}"


def _is_ours(filename: str) -> bool:
    packages = (str(importlib.import_module(name).__file__) for name in ("celery", "kombu"))
    return filename == __file__ or filename.startswith(tuple(str(Path(path).parent) for path in packages))


def _nothing(here: Path) -> str:
    if (here / "celery.py").is_file():
        return (
            f"{here} has a celery.py, which hides the package celery from what runs there. If it is a "
            f"package, go one up: autocelery --workdir {here.parent} -A {here.name} ...; else rename it."
        )
    return (
        f"No Celery app was found in {here}: neither {', '.join(_FILES)} nor a package with a celery.py has "
        "one. Go to the project's folder, or name the app: autocelery -A proj ..."
    )
