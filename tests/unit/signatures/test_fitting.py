"""Whether one signature takes every call of another: against Python's own word on every small call."""

from __future__ import annotations

import inspect
import itertools

from hypothesis import given, settings

from autocelery._check.fitting import counterexample
from autocelery_host.shapes import bare
from tests.unit.signatures.test_shapes import called, signatures

_MOST = 4


def calls_of(signature: inspect.Signature, names: set[str]) -> set[tuple[int, frozenset[str]]]:
    """Every call that it takes with at most five positional arguments, and keywords out of ``names``."""
    subsets = [
        frozenset(each)
        for size in range(len(names) + 1)
        for each in itertools.combinations(sorted(names), size)
    ]
    return {
        (count, named)
        for count in range(6)
        for named in subsets
        if called(signature, [0] * count, dict.fromkeys(named, 0))
    }


def small(signature: inspect.Signature) -> inspect.Signature | None:
    """Return the signature, unless it has more parameters than all calls can be tried of."""
    return bare(signature) if len(signature.parameters) <= _MOST else None


@settings(max_examples=150, deadline=None)
@given(signatures(), signatures())
def test_a_call_is_found_exactly_where_there_is_one(one: inspect.Signature, other: inspect.Signature) -> None:
    taken, by = small(one), small(other)
    if taken is None or by is None:
        return
    names = {*taken.parameters, *by.parameters, "unknown"}
    lost = calls_of(taken, names) - calls_of(by, names)
    assert (counterexample(taken, by) is None) == (not lost)


def test_what_is_shown_is_such_a_call() -> None:
    def old(name, polite=True): ...  # type: ignore[no-untyped-def]

    def new(name, greeting, polite=True): ...  # type: ignore[no-untyped-def]

    forth = counterexample(inspect.signature(old), inspect.signature(new))
    back = counterexample(inspect.signature(new), inspect.signature(old))
    assert forth == "name=..."
    assert back == "greeting=..., name=..."
