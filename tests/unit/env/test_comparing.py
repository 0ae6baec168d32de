"""What a snapshot needs against what a worker has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery._env.comparing import clashes, environment_id, is_compatible, needs_of_celery, to_build
from autocelery._model import Pin

PINS = [Pin("numpy", "2.4.6"), Pin("pandas", "3.1.1")]


@pytest.mark.parametrize(
    ("installed", "built"),
    [
        ({"numpy": "2.4.6", "pandas": "3.1.1", "other": "1"}, []),
        ({"numpy": "2.1", "pandas": "3.0"}, []),
        ({"numpy": "2.4.6"}, ["pandas"]),
        ({"numpy": "1.26", "pandas": "3.1.1"}, ["numpy"]),
        ({"numpy": "2.1", "pandas": "2.2"}, ["numpy", "pandas"]),
        ({}, ["numpy", "pandas"]),
    ],
    ids=["the same", "the same majors", "one missing", "another major", "one differs, one more", "nothing"],
)
def test_an_overlay_holds_what_differs_once_something_does_not_fit(
    installed: dict[str, str], built: list[str]
) -> None:
    assert [pin.name for pin in to_build(PINS, installed)] == built


@pytest.mark.parametrize(
    ("here", "wanted", "fits"),
    [("1.2", "1.9.1", True), ("2.0", "10.0", False), ("1.0rc1", "1.0", True),
     (None, "1", False), ("not a version", "1.0", False), ("not a version", "not a version", True)],
)  # fmt: skip
def test_the_same_major_version_fits(here: str | None, wanted: str, fits: bool) -> None:
    assert is_compatible(here, wanted) is fits


def test_what_the_workers_celery_cannot_run_with_is_told() -> None:
    needs = needs_of_celery(["celery"])
    told, *_ = clashes([Pin("click", "0.1"), Pin("numpy", "0.0.1")], needs)
    assert "celery" in told
    assert "click 0.1" in told
    assert clashes([Pin("numpy", "0.0.1")], needs) == []


def test_what_celery_needs_by_way_of_another_package_counts_too() -> None:
    needs = needs_of_celery(["celery"])
    assert "prompt-toolkit" in {need.name for need in needs}
    [told] = clashes([Pin("prompt-toolkit", "1.0")], needs)
    assert "click-repl" in told


@given(st.permutations(PINS))
def test_an_environment_has_one_name(pins: list[Pin]) -> None:
    assert environment_id(pins) == environment_id(PINS)
    assert environment_id([*pins, Pin("six", "1.0")]) != environment_id(PINS)
