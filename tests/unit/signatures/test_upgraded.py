"""`autocelery.testing.upgraded`: what a task gets from an old message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from autocelery import Autocelery
from autocelery.errors import SignatureMismatch
from autocelery.testing import upgraded


@pytest.fixture
def greet() -> Iterator[Any]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    Autocelery(app)

    @app.task(
        upgrade={
            1: lambda args, kwargs: (args, {**kwargs, "greeting": "hello"}),
            2: lambda args, kwargs: (args, {"how": kwargs["greeting"]}),
        }
    )
    def greet(name: str, how: str) -> str:
        return f"{how} {name}"

    yield greet
    app.close()


@pytest.mark.parametrize(("version", "kwargs"), [(1, {}), (2, {"greeting": "hello"}), (3, {"how": "hello"})])
def test_each_version_ends_as_the_newest(greet: Any, version: int, kwargs: dict[str, str]) -> None:
    assert upgraded(greet, version, "Ada", **kwargs) == (("Ada",), {"how": "hello"})


def test_what_an_upgrade_raises_is_told(greet: Any) -> None:
    with pytest.raises(
        SignatureMismatch, match=r"from version 2 .* failed on a message: KeyError: 'greeting'"
    ):
        upgraded(greet, 2, "Ada")


def test_what_does_not_fit_in_the_end_is_told(greet: Any) -> None:
    with pytest.raises(SignatureMismatch, match=r"multiple values|too many positional"):
        upgraded(greet, 1, "Ada", "hi", "there")
