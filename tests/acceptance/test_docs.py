"""The documentation's examples, run as a reader runs them: against a stock worker, with outputs compared."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocelery._broker import LocalBroker
from tests.conftest import remove_tree
from tests.documentation import DOCS, PAGES, README, Reader, blocks_of, copy_of

pytestmark = pytest.mark.slow

TUTORIAL = DOCS / "tutorial" / "first-live-call.md"
#: Pages whose sessions start in the project that the tutorial ends with, a worker beside it.
WITH_A_PROJECT = [README, *(page for page in PAGES if page.parent.name == "how-to" and blocks_of(page))]

#: What a page says the reader has, as its script imports it.
GIVEN = {
    "names.py": """\
from celery import chain
from forecast.celery import app, auto

rows = range(3)

@app.task
def add(x, y):
    return x + y

@app.task
def mul(x, y):
    return x * y

def score(row):
    return row + 1

def view_that_calls_delay():
    assert add.delay(2, 2).get() == 4
"""
}


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What points the documentation's projects at a broker of the tests' own."""
    broker = LocalBroker("auto")
    home = Path(tempfile.mkdtemp(prefix="ac-"))
    started = broker.start()
    yield {
        "CELERY_BROKER_URL": started.broker_url,
        "CELERY_RESULT_BACKEND": started.result_backend,
        "AUTOCELERY_HOME": str(home),
        "PYTHONWARNINGS": "ignore",  # a worker that is run as root says so, and it is no part of an output
    }
    broker.stop()
    remove_tree(home)


@pytest.fixture(scope="module")
def project(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tutorial's project, with a worker that runs as long as there are pages to try."""
    owner = Reader(copy_of("forecast", tmp_path_factory.mktemp("project")), environment)
    owner.start("celery -A forecast worker --concurrency 2 --loglevel INFO", " ready.")
    yield owner.folder
    owner.stop()


def test_the_tutorial_works_as_it_is_written(environment: dict[str, str], tmp_path: Path) -> None:
    reader = Reader(tmp_path / "empty", environment)
    reader.folder.mkdir()
    try:
        for block in blocks_of(TUTORIAL):
            reader.follow(block)
    finally:
        reader.stop()


@pytest.mark.parametrize("page", WITH_A_PROJECT, ids=lambda page: page.stem)
def test_a_page_works_as_it_is_written(
    page: Path, project: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    reader = Reader(copy_of("forecast", tmp_path), environment)
    for path, text in GIVEN.items():
        reader.write(path, text)
    try:
        for block in blocks_of(page):
            reader.follow(block)
    finally:
        reader.stop()


def test_the_example_is_what_the_tutorial_writes() -> None:
    written = {block.what: block.text for block in blocks_of(TUTORIAL) if block.do == "file"}
    example = DOCS.parent / "examples" / "forecast"
    assert written
    assert {path: (example / path).read_text() for path in written} == written
