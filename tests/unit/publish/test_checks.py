"""What the code and the files themselves show: each defect is told, and code that copes with it raises no alarm."""

from __future__ import annotations

import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery

from autocelery._publish import collecting
from autocelery._publish.checks import apps, files, imports, reached, trees
from autocelery._publish.checks.shipped import Shipped
from autocelery._publish.collecting import Collected
from autocelery._publish.inspecting import WorkerReport
from autocelery._publish.problems import Problem
from autocelery.presets.django import _configuring, configure
from tests.unit.publish.making import collected
from tests.unit.snapshot.making import git, repository

#: The package's name: one that nobody else's module has.
NAME = "checked_shop"
Found = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A git repository with a package; what is imported of it is forgotten afterwards."""
    folder = repository(tmp_path.resolve() / "project")
    (folder / NAME).mkdir()
    (folder / NAME / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [each for each in sys.modules if each.partition(".")[0] == NAME]:
        del sys.modules[name]


def parts(top: Path) -> tuple[Collected, Shipped]:
    snapshot = collected(top)
    return snapshot, Shipped.of(snapshot)


@pytest.fixture
def found(top: Path) -> Found:
    """Give what is told of the package with this module ``tasks``, which is imported, as an app does."""

    def check(source: str, **others: str) -> list[tuple[str, str]]:
        for name, text in {"tasks": source, **others}.items():
            (top / NAME / f"{name}.py").write_text(text)
        __import__(f"{NAME}.tasks")
        snapshot, shipped = parts(top)
        sources = reached.sources(shipped)
        told: list[Problem] = [
            *imports.problems_of(sources, shipped),
            *files.problems_of(sources, shipped),
            *trees.problems_of(snapshot, shipped),
        ]
        assert all(each.mend for each in told)
        return [(each.level, each.what.replace(NAME, "pkg")) for each in told]

    return check


TASK = "def task(function): return function\n@task\ndef run():\n    "


@pytest.mark.parametrize(
    ("body", "level", "what"),
    [
        (
            "from .. import beyond",
            "error",
            "pkg/tasks.py:4 says `from .. import beyond`, which leads beyond the top",
        ),
        (f"from {NAME} import nothing", "error", "pkg/__init__.py defines no nothing"),
        (f"import {NAME}.nothing", "error", "pkg has no such module"),
        ("import nowhere_installed", "warning", "neither in the tree nor installed here"),
        ("open('data/nothing.csv')", "warning", "opens data/nothing.csv, which is not there"),
        ("open('/home/ann/prices.csv')", "warning", "a path of this machine"),
        ("open('data.csv', 'w')", "warning", "writes data.csv: what is shipped is read-only"),
    ],
)
def test_what_fails_only_when_a_task_runs_is_told(found: Found, body: str, level: str, what: str) -> None:
    [(told, text)] = found(TASK + body)
    assert told == level
    assert what in text


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import nowhere_installed\nexcept ImportError:\n    nowhere_installed = None\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nowhere_installed\n",
        "import contextlib\nwith contextlib.suppress(ImportError):\n    import nowhere_installed\n",
        "def perhaps():\n    import nowhere_installed\n",
        TASK + "import os.path, json, xml.etree.ElementTree as tree",
        TASK + "open(__file__).read()",
        TASK + "open('/etc/hostname').read()",
        TASK + "try:\n        open('cache.json')\n    except FileNotFoundError:\n        pass",
        TASK + "import tempfile\n    open(tempfile.gettempdir() + '/x', 'w')",
        TASK + f"from {NAME} import tasks",
        "def __getattr__(name):\n    return name\ndef f():\n    from . import tasks\n    from .tasks import any_name\n",
    ],
)
def test_code_that_copes_raises_no_alarm(found: Found, source: str) -> None:
    assert found(source) == []


@pytest.mark.parametrize(
    "expression",
    [
        "open('data/x.json')",
        "pathlib.Path('data/x.json').read_text()",
        "(pathlib.Path(__file__).parent.parent / 'data' / 'x.json').open()",
        "open(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data', 'x.json'))",
        "HERE.joinpath('data/x.json').read_bytes()",
        "pandas.read_csv('data/x.json')",
    ],
)
def test_a_file_that_git_ignores_is_told_however_it_is_spelt(
    found: Found, top: Path, expression: str
) -> None:
    (top / ".gitignore").write_text("/data/\n")
    (top / "data").mkdir()
    (top / "data" / "x.json").write_text("{}")
    start = "import os, pathlib\nHERE = pathlib.Path(__file__).resolve().parent.parent\n"
    [(level, text)] = found(f"{start}def read(pandas=None):\n    return {expression}\n")
    assert level == "error"
    assert "opens data/x.json, which is not shipped: git ignores it" in text


_NAMES_DATABASE = "import pathlib\nTOP = pathlib.Path(__file__).parent.parent\n"


@pytest.mark.parametrize("content", [b"SQLite format 3\0...", b""])
def test_a_database_is_never_to_be_shipped(found: Found, top: Path, content: bytes) -> None:
    (top / ".gitignore").write_text("*.sqlite3\n")
    (top / "db.sqlite3").write_bytes(content)
    [(level, text)] = found(f"{_NAMES_DATABASE}PATH = TOP / 'db.sqlite3'\n")
    assert (level, "names db.sqlite3, which is not shipped" in text) == ("warning", True)
    snapshot = Shipped.of(collected(top))
    [told] = files.problems_of(reached.sources(snapshot), snapshot)
    assert "include" not in told.mend
    assert "environment variable" in told.mend


def test_the_database_of_a_project_with_our_django_preset_is_its_workers_and_raises_no_alarm(
    found: Found, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_configuring, "_configured", None)
    configure({"__name__": f"{NAME}.settings", "INSTALLED_APPS": []})
    (top / ".gitignore").write_text("*.sqlite3\n")
    (top / "db.sqlite3").write_bytes(b"SQLite format 3\0...")
    assert found(f"{_NAMES_DATABASE}PATH = TOP / 'db.sqlite3'\n") == []


@pytest.mark.parametrize(
    "expression",
    [
        "resources.files('{name}') / 'x.json'",
        "resources.files(__package__).joinpath('x.json').read_text()",
        "resources.read_text('{name}', 'x.json')",
        "pkgutil.get_data('{name}', 'x.json')",
    ],
)
def test_a_resource_that_git_ignores_is_told(found: Found, top: Path, expression: str) -> None:
    (top / ".gitignore").write_text("*.json\n")
    (top / NAME / "x.json").write_text("{}")
    text = expression.format(name=NAME)
    told = found(f"import pkgutil\nfrom importlib import resources\ndef read():\n    return {text}\n")
    assert ["pkg/x.json, which is not shipped" in what for _, what in told] == [True]


def test_a_module_that_is_imported_and_ignored_is_an_error_and_a_warning_where_the_code_copes(
    found: Found, top: Path
) -> None:
    (top / ".gitignore").write_text("_made*.py\n")
    source = "from . import _made\ntry:\n    from . import _made_perhaps\nexcept ImportError:\n    pass\n"
    told = found(source, _made="", _made_perhaps="")
    assert [(level, text.partition(", which")[0]) for level, text in told] == [
        ("error", "pkg/tasks.py:1 imports pkg/_made.py"),
        ("warning", "pkg/tasks.py:3 imports pkg/_made_perhaps.py"),
    ]


def test_the_version_file_of_a_build_tool_is_shipped_though_git_ignores_it(found: Found, top: Path) -> None:
    (top / ".gitignore").write_text("_version.py\n")
    told = found("from ._version import version\n", _version="version = '1'\n")
    assert [level for level, _ in told] == ["error"]
    (top / "pyproject.toml").write_text(f'[tool.setuptools_scm]\nversion_file = "{NAME}/_version.py"\n')
    assert found("from ._version import version\n") == []


def test_an_extension_module_for_another_python_is_told(found: Found, top: Path) -> None:
    (top / NAME / "_fast.cpython-39-x86_64-linux-gnu.so").write_bytes(b"\x7fELF")
    [(level, text)] = found(TASK + f"from {NAME} import _fast")
    assert (level, "which was not built for Python" in text) == ("error", True)
    (top / NAME / f"_fast{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"\x7fELF")
    (top / NAME / "_fast.cpython-39-x86_64-linux-gnu.so").unlink()
    assert found(TASK + f"from {NAME} import _fast") == []


def test_what_workers_refuse_or_hide_is_told(found: Found, top: Path) -> None:
    (top / "extra.pth").touch()
    assert [("extra.pth" in text, level) for level, text in found("")] == [(True, "error")]
    (top / "extra.pth").unlink()
    (top / "statistics.py").touch()
    assert [
        "statistics.py has the name of Python's own" in text for _, text in found("import statistics\n")
    ] == [True]
    assert found("") == []  # nobody imports it


def test_a_submodule_that_is_not_there_an_include_of_nothing_and_a_pointer_are_told(
    found: Found, top: Path, tmp_path: Path
) -> None:
    (top / ".gitmodules").write_text('[submodule "geo"]\n\tpath = libs/geo\n\turl = ../geo\n')
    (top / "pyproject.toml").write_text('[tool.autocelery]\ninclude = ["*.cvs"]\n')
    (top / "weights.bin").write_text("version https://git-lfs.github.com/spec/v1\nsize 7\n")
    git(top, "add", "-A")
    texts = [text for _, text in found("")]
    assert any("submodule libs/geo is not checked out" in text for text in texts)
    assert any("include names *.cvs" in text for text in texts)
    assert any("weights.bin is a pointer of git lfs" in text for text in texts)
    assert len(texts) == 3


def test_queues_schedules_names_and_variables_of_an_app_are_told(
    top: Path, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "x")
    source = """
import os
from celery import Celery
app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
@app.task(name="shop.total")
def total():
    return os.environ["SHOP_TOKEN"], os.environ.get("SHOP_OTHER")
@app.task(name="shop.total")
def again():
    app.send_task("shop.totla")
    app.send_task("elsewhere.task")
"""
    assert found(source) == []
    app: Celery = sys.modules[f"{NAME}.tasks"].app
    with warnings.catch_warnings():  # Celery 5.7 says so too, once it is too late
        warnings.simplefilter("ignore")
        app.finalize()
    app.conf.task_routes = {"shop.*": {"queue": "gpu"}}
    app.conf.beat_schedule = {"nightly": {"task": "shop.nightly", "schedule": 60}}
    _, shipped = parts(top)
    sources = reached.sources(shipped)
    told = [each.what for each in apps.problems_of(app, sources, shipped)]
    assert [word for word in ("nightly sends shop.nightly", "sends shop.totla", "the task shop.total")
            if any(word in what for what in told)] == ["nightly sends shop.nightly", "sends shop.totla",
                                                       "the task shop.total"]  # fmt: skip
    assert len(told) == 3
    read = apps.variables_read(sources, shipped)
    assert dict(read) == {"SHOP_TOKEN": f"{NAME}/tasks.py:7"}
    lacking = WorkerReport("w@there", autocelery="1", queues=("celery",), lacks_variables=("SHOP_TOKEN",))
    assert ["SHOP_TOKEN" in each.what for each in apps.of_variables(read, [lacking])] == [True]
    assert ["'gpu'" in each.what for each in apps.of_queues(app, [lacking])] == [True]
    assert list(apps.of_queues(app, [WorkerReport("w@there", autocelery="1", queues=("gpu",))])) == []


def test_an_ignored_folder_with_the_name_of_an_installed_package_is_not_taken_for_it(
    found: Found, top: Path
) -> None:
    (top / ".gitignore").write_text("/celery/\n")
    (top / "celery").mkdir()
    (top / "celery" / "notes.py").touch()
    assert found(TASK + "import celery") == []


def test_what_is_installed_in_a_venv_inside_the_tree_is_not_the_trees(
    found: Found, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = top / ".venv" / "lib" / "site-packages"
    site.mkdir(parents=True)
    (top / ".gitignore").write_text("/.venv/\n")
    (site / "checked_thing.py").touch()
    monkeypatch.syspath_prepend(str(site))
    assert found("import checked_thing\n") == []
    monkeypatch.delitem(sys.modules, "checked_thing")


def test_a_package_in_a_source_folder_is_the_trees_own_whatever_is_installed(top: Path) -> None:
    (top / "src" / "celery").mkdir(parents=True)
    (top / "src" / "celery" / "__init__.py").touch()
    (top / "src" / "vine").mkdir()
    (top / "src" / "vine" / "part.py").touch()
    (top / "src" / "kombu.py").touch()
    (tree,) = collected(top).trees
    assert collecting._modules_at({"tree": tree}, "tree/src") == {"celery", "kombu"}
    assert collecting._modules_at({"tree": tree}, "tree/nowhere") == frozenset()
