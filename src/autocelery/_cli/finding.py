"""Finding the Celery app: as ``celery -A`` does, and without it as Celery, Flask and Django would."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery
from celery.app.utils import find_app as celery_find_app

from autocelery._publish import import_errors, naming
from autocelery.errors import AppNotFound, BrokerNotConfigured

_ATTRIBUTES = ("celery_app", "celery", "app")
_FILES = ("app.py", "tasks.py", "wsgi.py", "make_celery.py", "main.py")
_IN_PACKAGES = ("celery.py", "celery_app.py")
_ELSEWHERE = "Go to the project's folder, or name the app: autocelery -A proj ..."
_MAKES_AN_APP = re.compile(r"\bCelery\(")
_SETTINGS_IN_MANAGE = re.compile(r"""DJANGO_SETTINGS_MODULE["'],\s*["']([\w.]+)["']""")


@dataclass(frozen=True, slots=True)
class Found:
    """An app and what to write after ``-A`` to get it."""

    name: str
    app: Any


def find_app(name: str | None, leaving_out: Path | None = None) -> Found:
    """Return the Celery app of that name, or the one that is evidently meant, and its name.

    Args:
        name: what followed ``-A``; ``None`` to look around in the current folder.
        leaving_out: a file that is not imported while looking around.

    Raises:
        AppNotFound: there is none, there are several, or its module does not import.
    """
    return Found(name, _named(name)) if name else _around(leaving_out)


def _named(name: str) -> Any:
    try:
        found = celery_find_app(name)
    except ModuleNotFoundError as error:
        if ":" in name and error.name == name:  # Celery's last resort when the attribute is missing
            raise AppNotFound(_no_attribute(*name.split(":", 1))) from error
        if not _is_part(error.name, name):
            raise AppNotFound(import_errors.told(name, error)) from error
        raise AppNotFound(_no_module(str(error.name))) from error
    except AttributeError as error:
        raise AppNotFound(_without_app(name, error)) from error
    except (Exception, SystemExit) as error:
        raise AppNotFound(import_errors.told(name, error)) from error
    if isinstance(found, Celery):
        return found
    inside = _in_flask(found)
    if inside is None:
        raise AppNotFound(_no_app(name, found))
    return inside


def _around(leaving_out: Path | None) -> Found:
    """Return the one app that the current folder has."""
    found: dict[int, Found] = {}
    failures: dict[str, BaseException] = {}
    passed_over = leaving_out.stem if leaving_out and leaving_out.absolute().parent == Path.cwd() else None
    for module in dict.fromkeys(_likely_modules(Path.cwd())):
        if module == passed_over:
            continue
        try:
            app = _in_module(importlib.import_module(module), module)
        except ModuleNotFoundError as error:
            if not _is_part(error.name, module):
                failures[import_errors.told(module, error)] = error
            continue
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may raise anything
            failures[import_errors.told(module, error)] = error
            continue
        if app is not None:
            found.setdefault(id(app.app), app)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        names = "\n".join(f"  -A {each.name}" for each in found.values())
        raise AppNotFound(f"There are several Celery apps in {Path.cwd()}. Say which:\n{names}")
    raise AppNotFound("\n".join([_nothing(Path.cwd()), *failures])) from _reason(failures.values())


def _reason(failures: Collection[BaseException]) -> BaseException | None:
    """Return the failure that says most: a broker that is missing can be had."""
    lacking = (each for each in failures if isinstance(each, BrokerNotConfigured))
    return next(lacking, next(iter(failures), None))


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
    match = _SETTINGS_IN_MANAGE.search(_text(here / "manage.py"))
    return match.group(1) if match else None


def _mentions_celery(path: Path) -> bool:
    return "celery" in _text(path).lower()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


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


def _no_app(name: str, found: object) -> str:
    """Tell what there is instead, and where an app may be: that of an extension is made with Flask's."""
    kind, carried = type(found), getattr(found, "app", None)
    meant = naming.name_of(carried) if isinstance(carried, Celery) else None
    likely = [file.removesuffix(".py") for file in _FILES if _mentions_celery(Path.cwd() / file)]
    instead = [meant] if meant else [each for each in likely if each != name.partition(":")[0]]
    return (
        f"-A {name} gives an object of the class {kind.__module__}.{kind.__qualname__}, and no Celery app. Name the "
        f"app: {' or '.join(f'-A {each}' for each in instead or ['module:attribute'])}"
    )


def _no_attribute(module: str, attribute: str) -> str:
    try:
        instead = module if isinstance(celery_find_app(module), Celery) else f"{module}:attribute"
    except (Exception, SystemExit):  # noqa: BLE001 - a user's module may raise anything
        instead = f"{module}:attribute"
    return f"{module} has no attribute {attribute!r} that is a Celery app. Name another: -A {instead}"


def _without_app(name: str, error: AttributeError) -> str:
    """Tell why there is no app in a module that is there: it raises, or makes its app elsewhere."""
    if import_errors.own_frames(error):
        return import_errors.told(name, error)
    inner = f"{name}.celery"  # where Celery looks next, and passes over one that does not import
    try:
        importlib.import_module(inner)
    except (Exception, SystemExit) as inside:  # noqa: BLE001 - a user's module may raise anything
        if not (isinstance(inside, ModuleNotFoundError) and _is_part(inside.name, inner)):
            return import_errors.told(inner, inside)
    spec = importlib.util.find_spec(name)
    folders = (spec.submodule_search_locations if spec else None) or ()
    makers = [each for folder in folders for each in _modules_that_make_an_app(Path(folder), name)]
    if makers:
        return (
            f"{name} itself has no Celery app. Did you mean {' or '.join(f'-A {each}' for each in makers)}?"
        )
    return f"{name} has no Celery app: nothing in it is called app or celery. Name it: -A {name}:attribute"


def _modules_that_make_an_app(package: Path, name: str) -> list[str]:
    files = sorted(each for each in package.glob("*.py") if each.name != "__init__.py")
    return [f"{name}.{each.stem}" for each in files if _MAKES_AN_APP.search(_text(each))]


def _no_module(missing: str) -> str:
    near = difflib.get_close_matches(missing, _importable_here(Path.cwd()), n=1, cutoff=0.7)
    hint = (
        f" Did you mean -A {near[0]}?" if near else " Go to the project's folder, or name it with --workdir."
    )
    return f"There is no module {missing} in {Path.cwd()} or the installed packages.{hint}"


def _importable_here(here: Path) -> list[str]:
    files = [path.stem for path in here.glob("*.py")]
    packages = [path for path in here.iterdir() if path.is_dir() and path.name.isidentifier()]
    inside = [f"{path.name}.{each.stem}" for path in packages for each in path.glob("*.py")]
    return files + [path.name for path in packages] + inside


def _nothing(here: Path) -> str:
    if (here / "celery.py").is_file():
        return (
            f"{here} has a celery.py, which hides the package celery from what runs there. If it is a "
            f"package, go one up: autocelery --workdir {here.parent} -A {here.name} ...; else rename it."
        )
    packages = sorted(path for path in here.iterdir() if path.name.isidentifier() and path.is_dir())
    makers = [each for path in packages for each in _modules_that_make_an_app(path, path.name)]
    advice = f"Perhaps: autocelery -A {makers[0]} ..." if makers else _ELSEWHERE
    return (
        f"No Celery app was found in {here}: neither {', '.join(_FILES)} nor a package with a celery.py has "
        f"one. {advice}"
    )
