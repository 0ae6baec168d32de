"""Packages that a call asks for: read, and found beside those that the project needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocelery._env import adding
from autocelery._model import Pin
from autocelery.errors import ConfigurationError, LockInvalid
from tests.wheels import make_wheel


@pytest.fixture
def index(index: Path) -> Path:
    """Has alpha in two versions besides, of which a beta needs the older."""
    make_wheel(index, "alpha", "2.0", {"alpha.py": "VALUE = 2\n"})
    make_wheel(index, "beta", "1.5", {"beta.py": ""}, requires=["alpha<2"])
    return index


def test_requirements_are_compared_by_what_they_say() -> None:
    assert adding.read(["polars == 1.*", "alpha", "polars==1.*"]) == ("alpha", "polars==1.*")
    assert adding.read([]) == ()


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ("polars", "no list of requirements"),
        ([3], "no requirement"),
        (["no such thing"], "no requirement"),
        (["lib @ https://example.org/lib.whl"], "from an address"),
    ],
)
def test_what_is_no_requirement_is_refused_with_how_to_write_it(packages: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        adding.read(packages)


@pytest.mark.usefixtures("index")
def test_what_is_asked_for_comes_with_what_it_needs() -> None:
    assert adding.added(("beta",), ()) == (Pin("alpha", "1.0"), Pin("beta", "1.5"))
    assert adding.added(("alpha",), ()) == (Pin("alpha", "2.0"),)


@pytest.mark.usefixtures("index")
def test_the_versions_of_the_project_stay() -> None:
    assert adding.added(("beta",), (Pin("alpha", "1.0"),)) == (Pin("beta", "1.5"),)
    with pytest.raises(
        LockInvalid, match=r"\['beta'\] does not go together with what the project needs.*alpha"
    ):
        adding.added(("beta",), (Pin("alpha", "2.0"),))


@pytest.mark.usefixtures("index")
def test_what_no_index_has_is_told_by_its_name() -> None:
    with pytest.raises(LockInvalid, match="gamma"):
        adding.added(("gamma>=3",), ())


@pytest.mark.usefixtures("index")
def test_without_uv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "uv_here", lambda: None)
    with pytest.raises(ConfigurationError, match=r"autocelery\[env\]"):
        adding.added(("alpha",), ())
