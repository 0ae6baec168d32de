"""Finding the Celery app: as `celery -A` does, and without it as Celery, Flask and Django would."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autocelery._cli.shell import Shell
from autocelery._publish import naming
from autocelery.errors import AppNotFound, CodeNotImportable, TaskNotInSnapshot

APP = "from celery import Celery\n{name} = Celery({main!r})\n"

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write files into the folder that is the current one; what is imported from it is forgotten later."""
    for name in ("AUTOCELERY_APP", "CELERY_APP", "APP", "DJANGO_SETTINGS_MODULE", "FLASK_APP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)

    def write(path: str, text: str = APP.format(name="app", main="shop")) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    yield write
    for name in set(sys.modules) - before:
        if str(tmp_path) in repr(vars(sys.modules[name]).get("__spec__")):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["shop", "shop.celery", "shop.celery:app"])
def test_minus_a_means_what_it_means_to_celery(write: Write, name: str) -> None:
    write("shop/__init__.py", "")
    write("shop/celery.py")
    assert Shell(app=name).find_app().main == "shop"


@pytest.mark.parametrize("attribute", ["celery_app", "celery", "app", "queue"])
@pytest.mark.parametrize("path", ["app.py", "tasks.py", "shop/celery.py", "shop/celery_app.py"])
def test_without_minus_a_the_one_app_of_the_folder_is_found(write: Write, path: str, attribute: str) -> None:
    write(path, APP.format(name=attribute, main="found"))
    assert Shell().find_app().main == "found"


def test_the_app_of_django_s_settings_is_found_through_manage_py(write: Write) -> None:
    write("manage.py", 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.local")')
    write("config/celery_app.py", APP.format(name="app", main="django"))
    assert Shell().find_app().main == "django"


def test_the_app_that_a_flask_application_carries_is_found(write: Write) -> None:
    carries = "class Flask: pass\nflask_app = Flask()\nflask_app.extensions = {'celery': Celery('flask')}\n"
    write("app.py", f"from celery import Celery\n{carries}")
    assert Shell().find_app().main == "flask"
    assert Shell(app="app:flask_app").find_app().main == "flask"


def test_the_same_app_in_two_modules_is_one_app(write: Write) -> None:
    write("shop/celery.py")
    write("tasks.py", "from shop.celery import app")
    assert Shell().find_app().main == "shop"


def test_several_apps_are_listed_and_none_is_chosen(write: Write) -> None:
    write("app.py")
    write("shop/celery.py")
    with pytest.raises(AppNotFound, match=r"(?s)several.*-A app:app.*-A shop\.celery:app"):
        Shell().find_app()


def test_a_file_that_does_not_mention_celery_is_not_imported(write: Write) -> None:
    write("app.py", "raise SystemExit('a server would have started')")
    with pytest.raises(AppNotFound, match="No Celery app was found") as error:
        Shell().find_app()
    assert "server" not in error.value.message


def test_a_module_that_does_not_import_is_told_with_the_line_that_failed(write: Write) -> None:
    write("shop/__init__.py", "")
    write("shop/celery.py", "import celery\nprice = 1 / 0\n")
    for shell in (Shell(), Shell(app="shop.celery")):
        with pytest.raises(AppNotFound, match=r"(?s)price = 1 / 0.*ZeroDivisionError") as error:
            shell.find_app()
        assert "kombu" not in error.value.message


def test_a_package_that_the_app_lacks_is_not_called_a_missing_app(write: Write) -> None:
    write("tasks.py", "import celery, not_installed_here")
    with pytest.raises(AppNotFound, match=r"(?s)Importing tasks failed.*not_installed_here"):
        Shell(app="tasks").find_app()


def test_a_misspelt_module_is_answered_with_the_near_one(write: Write) -> None:
    write("shop/__init__.py", "")
    with pytest.raises(AppNotFound, match="Did you mean -A shop"):
        Shell(app="shpo").find_app()


def test_an_attribute_that_the_module_lacks_is_named(write: Write) -> None:
    write("shop.py")
    with pytest.raises(AppNotFound, match=r"shop has no attribute 'nope'.*-A shop$"):
        Shell(app="shop:nope").find_app()


def test_what_is_no_celery_app_is_refused(write: Write) -> None:
    write("shop.py", "app = 3")
    with pytest.raises(AppNotFound, match=r"class builtins\.int, and no Celery app.*-A module:attribute$"):
        Shell(app="shop:app").find_app()


def test_an_extension_that_has_no_app_yet_is_answered_with_the_module_that_makes_it(write: Write) -> None:
    write("shop/__init__.py", "from autocelery.presets.flask import Autocelery\ncelery = Autocelery()\n")
    write("make_celery.py", "from shop import celery")
    with pytest.raises(
        AppNotFound, match=r"presets\.flask\.Autocelery, and no Celery app.*: -A make_celery$"
    ):
        Shell(app="shop").find_app()


def test_an_autocelery_is_answered_with_its_app(write: Write) -> None:
    write("shop/__init__.py", "")
    write("shop/celery.py")
    write(
        "shop/live.py",
        "from autocelery import Autocelery\nfrom shop.celery import app\nauto = Autocelery(app)",
    )
    with pytest.raises(AppNotFound, match=r"and no Celery app.*: -A shop$"):
        Shell(app="shop.live:auto").find_app()


def test_a_celery_py_that_hides_the_package_is_told_apart(write: Write) -> None:
    write("celery.py")
    with pytest.raises(AppNotFound, match="hides the package celery"):
        Shell().find_app()


def test_an_app_in_another_module_of_the_package_is_pointed_to(write: Write) -> None:
    write("shop/__init__.py", "")
    write("shop/app.py")
    with pytest.raises(AppNotFound, match=r"shop itself has no Celery app. Did you mean -A shop\.app\?"):
        Shell(app="shop").find_app()
    with pytest.raises(AppNotFound, match=r"Perhaps: autocelery -A shop\.app"):
        Shell().find_app()
    with pytest.raises(AppNotFound, match=r"Did you mean -A shop\.app\?"):
        Shell(app="shop.ap").find_app()


def test_a_module_without_any_app_is_said_to_have_none(write: Write) -> None:
    write("shop.py", "x = 1")
    with pytest.raises(AppNotFound, match="shop has no Celery app"):
        Shell(app="shop").find_app()


@pytest.mark.parametrize("line", ["import not_installed_here", "None.attribute", "broken("])
def test_what_is_wrong_in_the_celery_py_of_a_package_is_told(write: Write, line: str) -> None:
    write("shop/__init__.py", "")
    write("shop/celery.py", f"import celery\n{line}\n")
    with pytest.raises(AppNotFound, match=r'(?s)shop/celery\.py", line 2') as error:
        Shell(app="shop").find_app()
    assert line in error.value.message


@pytest.mark.parametrize(
    ("path", "attribute", "given", "written"),
    [
        ("shop/celery.py", "app", None, "-A shop"),
        ("shop/celery.py", "celery", "shop.celery:celery", "-A shop.celery:celery"),
        ("app.py", "app", None, "-A app"),
        ("tasks.py", "queue", None, "-A tasks"),
    ],
)
def test_suggested_commands_repeat_how_the_app_was_named(
    write: Write, monkeypatch: pytest.MonkeyPatch, path: str, attribute: str, given: str | None, written: str
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "")
    write(path, APP.format(name=attribute, main="shop"))
    found = Shell(app=given, workdir="a folder", broker="redis://:secret@here/1").find_app()
    assert naming.options_of(found) == f"{written} -b 'redis://:***@here/1' --workdir 'a folder'"


def test_a_task_named_without_its_module_is_answered_with_the_whole_name(write: Write) -> None:
    write("app.py", "from celery import Celery\napp = Celery()\n@app.task(shared=False)\ndef add(): pass\n")
    with pytest.raises(TaskNotInSnapshot, match=r"Did you mean app\.add\?"):
        naming.task_named(Shell(app="app").find_app(), "add")


def test_a_task_module_that_does_not_import_is_told_with_file_and_line(write: Write) -> None:
    write("shop/__init__.py", "")
    write("shop/celery.py", "from celery import Celery\napp = Celery(include=['shop.tasks'])\n")
    write("shop/tasks.py", "import shop.celery\nprice = 1 / 0\n")
    with pytest.raises(CodeNotImportable, match=r'(?s)shop/tasks\.py", line 2.*price = 1 / 0') as error:
        naming.task_named(Shell(app="shop").find_app(), "shop.tasks.add")
    assert "site-packages" not in error.value.message
    assert "Nothing was sent" in error.value.message
