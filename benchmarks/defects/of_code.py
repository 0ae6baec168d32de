"""Defects of code and of the packages that it imports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.defects.seeding import Defect, Seeding


def _syntax(project: Seeding) -> None:
    project.write("proj/late.py", "def late(:\n    pass\n")


def _beyond_the_top(project: Seeding) -> None:
    project.task("from ..shared import rates\nreturn rates.RATE")


def _no_such_name(project: Seeding) -> None:
    project.task("from proj.rates import DISCOUNT\nreturn DISCOUNT")


def _ignored_module(project: Seeding) -> None:
    project.ignore("_generated.py")
    project.write("proj/_generated.py", "VERSION = 1\n")
    project.add("proj/rates.py", "from proj._generated import VERSION\n")


def _ignored_package(project: Seeding) -> None:
    project.ignore("/vendored/")
    project.write("vendored/__init__.py", "")
    project.write("vendored/geo.py", "HERE = 0\n")
    project.task("import vendored.geo\nreturn vendored.geo.HERE")


def _circle(project: Seeding) -> None:
    project.write("proj/rates.py", "from proj.discounts import DISCOUNT\nRATE = 2\n")
    project.write("proj/discounts.py", "from proj.rates import RATE\nDISCOUNT = RATE / 2\n")


def _shadow(project: Seeding) -> None:
    project.write("statistics.py", "def mean(values):\n    return 0\n")
    project.task("import statistics\nreturn statistics.mean([1, 2])")


def _path_file(project: Seeding) -> None:
    project.write("extra.pth", "/home/ann/lib\n")


def _two_roots(project: Seeding) -> None:
    (project.folder / "shared").mkdir()
    (project.folder / "shared" / "units.py").write_text("METRE = 1\n")
    project.write("units.py", "METRE = 2\n")
    (project.folder / "shared" / "lengths.py").write_text("import units\n")
    project.add("proj/rates.py", "import lengths\n")
    project.environment["PYTHONPATH"] = str(project.folder / "shared")


def _one_name_twice(project: Seeding) -> None:
    for name in ("first", "second"):
        project.add("proj/tasks.py", f'@app.task(name="proj.total")\ndef {name}():\n    return {name!r}\n')


def _no_such_task(project: Seeding) -> None:
    project.task('app.send_task("proj.tasks.prise", (2,))')


def installed(folder: Path, name: str, version: str, source: str = "", requires: str = "") -> Path:
    """Put a package where it looks installed, as ``pip install --target`` does; return its metadata's folder."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "__init__.py").write_text(source)
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(exist_ok=True)
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
    (metadata / "RECORD").write_text(f"{name}/__init__.py,,\n")
    (metadata / "top_level.txt").write_text(f"{name}\n")
    return metadata


def _nowhere_installed(project: Seeding) -> None:
    project.task("import inflectt\nreturn inflectt.plural('cat')")


def _gone_editable(project: Seeding) -> None:
    metadata = installed(project.folder / "site", "libtax", "1.0")
    (project.folder / "site" / "libtax" / "__init__.py").unlink()
    (project.folder / "site" / "libtax").rmdir()
    (metadata / "RECORD").write_text("__editable__.libtax-1.0.pth,,\n")
    url = {"url": "file:///home/ann/libtax", "dir_info": {"editable": True}}
    (metadata / "direct_url.json").write_text(json.dumps(url))
    project.environment["PYTHONPATH"] = str(project.folder / "site")
    project.task("import libtax\nreturn libtax.vat(1)")


def _package(
    name: str, version: str, url: str = "", requires: str = "", line: str = ""
) -> Callable[[Seeding], None]:
    def seed(project: Seeding) -> None:
        metadata = installed(project.folder / "site", name, version, requires=requires)
        if url:
            (metadata / "direct_url.json").write_text(
                json.dumps({"url": url, "vcs_info": {"vcs": "git", "commit_id": "0" * 40}})
            )
        project.environment["PYTHONPATH"] = str(project.folder / "site")
        project.add("proj/rates.py", line or f"import {name}\n")

    return seed


def _clash(project: Seeding) -> None:
    installed(project.folder / "site", "click", "0.1")
    (project.folder / "site" / "click" / "__init__.py").unlink()
    (project.folder / "site" / "click").rmdir()  # the command itself goes on with the click that works
    project.environment["PYTHONPATH"] = str(project.folder / "site")
    project.add("proj/rates.py", "import click\n")


DEFECTS = (
    Defect("Python that is none", _syntax, ("proj/late.py:1",)),
    Defect("a relative import beyond the top", _beyond_the_top, ("proj/tasks.py", "..shared")),
    Defect("a name that a module does not define", _no_such_name, ("DISCOUNT", "proj/rates.py")),
    Defect("a module that git ignores", _ignored_module, ("proj/_generated.py", "include")),
    Defect("a package that git ignores, imported late", _ignored_package, ("vendored", "include")),
    Defect("two modules that import each other", _circle, ("proj/discounts.py", "circular")),
    Defect("a module with the name of Python's own", _shadow, ("statistics.py",)),
    Defect("a .pth file in the tree", _path_file, ("extra.pth",)),
    Defect("two folders with one module", _two_roots, ("units", "PYTHONPATH"), "refused"),
    Defect("two tasks of one name", _one_name_twice, ("proj.total",)),
    Defect("a task that is not there, sent by its name", _no_such_task, ("proj.tasks.prise",), "warning"),
    Defect("a package that is installed nowhere", _nowhere_installed, ("inflectt",), "warning"),
    Defect(
        "an editable install whose folder is gone", _gone_editable, ("libtax", "/home/ann/libtax"), "warning"
    ),
    Defect(
        "a package that a worker lacks and must not build",
        _package("greeting", "2.0"),
        ("greeting==2.0", "lacks"),
        "warning",
        "strict",
    ),
    Defect(
        "a package of another major version there",
        _package("wcwidth", "77.0"),
        ("wcwidth", "77.0"),
        fleet="strict",
    ),
    Defect("a package with which the worker's Celery cannot run", _clash, ("click 0.1", "celery")),
    Defect(
        "a package from a repository that the worker lacks",
        _package("greeting", "3.0", url="https://git.example.org/greeting"),
        ("lacks", "greeting (https://git.example.org/greeting)"),
        "warning",
    ),
    Defect("a version that no index has", _package("inflect", "7777.0"), ("inflect", "7777.0")),
)
