"""The Django example's own tests, as its reader would run them: without a broker, and on Redis and PostgreSQL."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests import services
from tests.django_projects import without_what_the_desk_says
from tests.documentation import copy_of

#: Seconds for the whole suite, with a worker that starts and ends twice.
_PATIENCE = 200


@pytest.fixture
def example(tmp_path: Path) -> Path:
    return copy_of("django", tmp_path)


@pytest.fixture
def environment(redis_url: str) -> Iterator[str]:
    """What tells this deployment from others on the same Redis; its keys are removed."""
    name = f"ac-{secrets.token_hex(6)}"
    yield name
    services.remove_redis_keys(f"{name}:")


def run_tests(example: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", "test", "--no-input"],
        cwd=example,
        env={**without_what_the_desk_says(os.environ), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stderr


def test_without_a_broker_the_example_needs_nothing_else(example: Path) -> None:
    said = run_tests(example)
    assert "No broker: tasks of shop run in this process" in said
    assert re.search(r"^Ran 13 tests.*\n\nOK \(skipped=1\)$", said, re.M), said


def test_the_same_tests_hold_on_a_worker_with_redis_and_postgresql(
    example: Path, redis_url: str, environment: str, postgres_database: str
) -> None:
    url = make_url(postgres_database)
    told = {
        "PGDATABASE": url.database,
        "PGHOST": url.host,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
    }
    postgres = {name: str(value) for name, value in told.items() if value}
    if url.port:
        postgres["PGPORT"] = str(url.port)
    said = run_tests(example, REDIS_URL=redis_url, ENVIRONMENT=environment, **postgres)
    assert "No broker: tasks of" not in said
    assert re.search(r"^OK \(skipped=2\)$", said, re.M), said


def test_the_example_is_what_startproject_and_the_commands_make(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "startautocelery", "--dry-run"],
        cwd=example,
        env=without_what_the_desk_says(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "+++ b/shop/celery.py" not in done.stdout
    assert "+++ b/shop/__init__.py" not in done.stdout
