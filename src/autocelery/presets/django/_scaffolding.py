"""What `startautocelery` writes into a project: never over what is there, and nothing twice."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_APP = '''\
"""The Celery app of {package}: celery -A {package} worker"""

from autocelery.presets.django import celery_app

app = celery_app("{package}"{settings})
'''
_IMPORT = """\
from .celery import app as celery_app

__all__ = ["celery_app"]
"""
_TASKS = '''\
"""Tasks of {package}; those of an app go into its own tasks.py."""

from celery import shared_task


@shared_task
def add(x, y):
    return x + y
'''


@dataclass(frozen=True, slots=True)
class Change:
    """A file as it is and as it should be; ``before`` is ``None`` where it is not there."""

    path: Path
    before: str | None
    after: str

    def diff(self, top: Path) -> str:
        """Return the change as ``diff -u`` shows it, with paths from ``top``."""
        name = str(self.path.relative_to(top) if self.path.is_relative_to(top) else self.path)
        lines = difflib.unified_diff(
            (self.before or "").splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            "/dev/null" if self.before is None else f"a/{name}",
            f"b/{name}",
        )
        return "".join(lines)

    def write(self) -> None:
        """Make the file so."""
        self.path.write_text(self.after, encoding="utf-8")


def changes(folder: Path, package: str, settings: str) -> Iterator[Change]:
    """Yield what is missing in the project's package.

    Args:
        folder: where the package is.
        package: its name.
        settings: the settings module.
    """
    said = "" if settings == f"{package}.settings" else f', settings="{settings}"'
    for name, text in (("celery.py", _APP), ("tasks.py", _TASKS)):
        if not (folder / name).exists():
            yield Change(folder / name, None, text.format(package=package, settings=said))
    init = folder / "__init__.py"
    before = init.read_text(encoding="utf-8") if init.exists() else None
    if not _imports_app(before or "", package):
        yield Change(init, before, _with_import(before or ""))


def kept(folder: Path) -> str:
    """Return what there is to say of a ``celery.py`` that is there and makes its app in another way."""
    path = folder / "celery.py"
    if not path.exists() or "celery_app(" in path.read_text(encoding="utf-8"):
        return ""
    return (
        f"{path.name} is there and stays as it is. It makes the app without the preset; with it that is: "
        "from autocelery.presets.django import celery_app"
    )


def _imports_app(text: str, package: str) -> bool:
    """Whether the package imports its ``celery.py`` already, in whatever way."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = {each.name for each in node.names}
            if module in (".celery", f"{package}.celery") or (module in (".", package) and "celery" in names):
                return True
        elif isinstance(node, ast.Import) and any(each.name == f"{package}.celery" for each in node.names):
            return True
    return False


def _with_import(text: str) -> str:
    """Return the text of ``__init__.py`` with the import at its end; ``__all__`` of its own stays."""
    lines = _IMPORT if "__all__" not in text else _IMPORT.splitlines()[0] + "  # noqa: F401\n"
    if not text.strip():
        return lines
    return f"{text.rstrip()}\n\n{lines}"
