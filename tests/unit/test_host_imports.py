"""The host's package stays small enough to trust: what it may import is a list."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import autocelery_host

CELERY_S_OWN = {"billiard", "celery", "cloudpickle", "kombu", "vine"}


#: Of later versions of Python.
STANDARD_LIBRARY = {*sys.stdlib_module_names, "annotationlib"}


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_host_imports_the_standard_library_celery_and_the_errors_only() -> None:
    folder = Path(str(autocelery_host.__file__)).parent
    allowed = STANDARD_LIBRARY | CELERY_S_OWN | {"autocelery_host"}
    foreign = {
        f"{path.name}: {name}"
        for path in sorted(folder.rglob("*.py"))
        for name in imported_by(path)
        if name.partition(".")[0] not in allowed and name != "autocelery.errors"
    }
    assert foreign == set()
