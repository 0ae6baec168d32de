"""The shape of a call: what a header says of a signature, and what fits it."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocelery._celery.settling import settled
from autocelery_host.shapes import Shape, bare, parameters_text, read, shape_of

KINDS = [
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
]
NAMES = ["a", "b", "c", "d", "long_name", "größe", "_"]
ARGUMENTS = st.lists(st.integers(), max_size=6)
KEYWORDS = st.dictionaries(st.sampled_from([*NAMES, "unknown"]), st.integers(), max_size=5)


@st.composite
def signatures(draw: st.DrawFn) -> inspect.Signature:
    """Draw any signature that Python has."""
    found: list[inspect.Parameter] = []
    had_default = False
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), max_size=len(NAMES))))
    for name, kind in zip(NAMES, kinds, strict=False):
        if kind in (KINDS[2], KINDS[4]) and any(each.kind is kind for each in found):
            continue
        default: Any = inspect.Parameter.empty
        if kind in KINDS[:2]:
            had_default = had_default or draw(st.booleans())
            default = 7 if had_default else default
        elif kind is KINDS[3] and draw(st.booleans()):
            default = None
        found.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(found)


@functools.cache
def _function(parameters: str) -> Any:
    return eval(f"lambda {parameters}: None")


def called(signature: inspect.Signature, args: Any, kwargs: Any) -> bool:
    """Whether Python itself takes the call; `inspect.Signature.bind` is wrong about some, in some versions."""
    try:
        _function(parameters_text(signature).replace("=", "=0"))(*args, **kwargs)
    except TypeError:
        return False
    return True


@given(signatures(), st.integers(1, 10**9 - 1))
def test_what_a_header_says_is_read_as_it_was_meant(signature: inspect.Signature, version: int) -> None:
    shape = Shape("task", version, bare(signature))
    assert read(str(shape)) == shape


@given(signatures(), ARGUMENTS, KEYWORDS)
def test_a_shape_fits_what_python_would_take(signature: inspect.Signature, args: Any, kwargs: Any) -> None:
    shape = Shape("task", 1, bare(signature))
    assert (shape.misfit(args, kwargs) == "") == called(signature, args, kwargs)


@given(signatures(), ARGUMENTS, KEYWORDS)
def test_what_is_settled_always_fits(signature: inspect.Signature, args: Any, kwargs: Any) -> None:
    new_args, new_kwargs, changes = settled(signature, args, kwargs)
    assert called(signature, new_args, new_kwargs)
    if called(signature, args, kwargs):
        assert (list(new_args), new_kwargs, changes) == (args, kwargs, [])


@given(st.text(max_size=80))
def test_any_text_in_a_header_is_a_shape_or_none(text: str) -> None:
    for each in (text, f"task/1({text})"):
        told = read(each)
        assert told is None or read(str(told)) == told


@pytest.mark.parametrize(
    "text",
    [
        "", "add", "add/1", "add/1(", "add/0(x)", "add/x(x)", "add/1(x,x)", "add/1(x=,y)", "add/1(*)", "add/1(/)",
        "add/1(**k,a)", "add/1(for)", "add/1(1)", "add/1(,)", "a" * 600 + "/1()", None, 7, {"add": 1},
    ],
)  # fmt: skip
def test_a_header_that_says_nothing_sensible_is_no_shape(text: object) -> None:
    assert read(text) is None


def test_a_shape_reads_like_a_definition() -> None:
    def say_hello(name, /, polite=True, *rest, lang, loud=False, **more):  # type: ignore[no-untyped-def]
        """Say it."""

    assert (
        str(shape_of("shop.tasks.say_hello", say_hello, 3))
        == "say_hello/3(name,/,polite=,*rest,lang,loud=,**more)"
    )
