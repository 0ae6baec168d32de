"""The reference is complete: what the code has, the page has, and what the page names is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from autocelery import _config, errors
from tests.documentation import DOCS, PAGES

ROOT = DOCS.parent
_VARIABLE = re.compile(r"\bAUTOCELERY_[A-Z_]*[A-Z]\b")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def reference(name: str) -> str:
    """Return the text of a page of the reference."""
    return (DOCS / "reference" / f"{name}.md").read_text()


def first_cells(text: str) -> list[str]:
    """Return what stands in backticks at the beginning of each table row."""
    return re.findall(r"^\| `([^`]+)`", text, re.M)


def test_the_commands_page_is_what_the_commands_say_of_themselves() -> None:
    spec = importlib.util.spec_from_file_location(
        "command_reference", ROOT / "scripts" / "command_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert reference("commands") == module.page(), "Run: .venv/bin/python scripts/command_reference.py"


def test_the_doctors_pages_are_what_its_rules_say_of_themselves() -> None:
    spec = importlib.util.spec_from_file_location(
        "doctor_reference", ROOT / "scripts" / "doctor_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = {path.name: path.read_text() for path in module.FOLDER.glob("*.md")}
    assert written == module.pages(), "Run: .venv/bin/python scripts/doctor_reference.py"


def test_every_variable_that_the_code_reads_has_its_row_and_no_other_does() -> None:
    sources = (ROOT / "src").rglob("*.py")
    read = {name for path in sources for name in _VARIABLE.findall(path.read_text())}
    rows = [name for name in first_cells(reference("settings")) if name.startswith("AUTOCELERY_")]
    assert sorted(rows) == sorted(read)


@pytest.mark.parametrize(
    ("variable", "shown", "default"),
    [
        ("AUTOCELERY_TREE_MAX", "2g", _config.DEFAULT_TREE_MAX),
        ("AUTOCELERY_CACHE_MAX", "2g", _config.DEFAULT_CACHE_MAX),
        ("AUTOCELERY_SIGNATURE_DAYS", "30", _config.DEFAULT_SIGNATURE_DAYS),
        ("AUTOCELERY_WARM_HOSTS", "4", _config.DEFAULT_WARM_HOSTS),
        ("AUTOCELERY_HOST_IDLE", "600", _config.DEFAULT_HOST_IDLE),
        ("AUTOCELERY_HOST_MAX_CALLS", "10000", _config.DEFAULT_HOST_MAX_CALLS),
        ("AUTOCELERY_HOST_MAX_MEMORY", "0", _config.DEFAULT_HOST_MAX_MEMORY),
    ],
)
def test_defaults_are_those_of_the_code(
    variable: str, shown: str, default: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert re.search(rf"^\| `{variable}` \|.*\| `{shown}` \|$", reference("settings"), re.M)
    monkeypatch.setenv(variable, shown)
    assert _config.size_setting(variable, -1) == default


def test_every_error_has_its_row_and_no_other_does() -> None:
    assert sorted(first_cells(reference("errors"))) == sorted(errors.__all__)


def test_every_guarantee_names_tests_that_exist() -> None:
    sections = re.split(r"^## \d\. ", reference("guarantees"), flags=re.M)[1:]
    assert len(sections) == 7
    for section in sections:
        check_tests_named_in(section)


def test_every_row_of_the_threat_model_names_tests_that_exist() -> None:
    table = (ROOT / "SECURITY.md").read_text().partition("## Who can do what")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    assert len(rows) > 12
    for row in rows:
        *_, shown_by, _ = row.split("|")
        if "user account of a worker" not in row:  # it owns the worker: there is nothing to show
            check_tests_named_in(shown_by)


def check_tests_named_in(text: str) -> None:
    """See that the tests that ``text`` names exist, and that it names some."""
    named = re.findall(r"`(tests/[\w/.]+)(?:::(\w+))?`", text)
    assert named, text
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        path, _, heading = target.partition("#")
        if "://" in path:
            continue
        other = (page.parent / path) if path else page
        assert other.is_file(), f"{page.name}: {target}"
        assert not heading or heading in _headings(other), f"{page.name}: {target}"


def _headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the documentation make them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_source_files_that_a_page_names_are_there(page: Path) -> None:
    for name in re.findall(r"`((?:_\w+|autocelery_host)/\w+\.py)`", page.read_text()):
        assert any((ROOT / "src" / top / name).is_file() for top in ("", "autocelery")), (
            f"{page.name}: {name}"
        )


def test_the_files_that_the_readme_links_to_are_there() -> None:
    targets = [each for each in _LINK.findall((ROOT / "README.md").read_text()) if "://" not in each]
    assert targets
    assert [each for each in targets if not (ROOT / each).is_file()] == []
