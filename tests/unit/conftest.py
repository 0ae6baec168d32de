"""What every unit test begins with."""

from __future__ import annotations

import celery._state
import celery.app.builtins
import pytest


@pytest.fixture(autouse=True)
def tasks_of_no_other_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a test's apps no shared tasks of others: a process has them for every app in it."""
    own = {
        each for each in celery._state._on_app_finalizers if each.__module__ == celery.app.builtins.__name__
    }
    monkeypatch.setattr(celery._state, "_on_app_finalizers", own)
