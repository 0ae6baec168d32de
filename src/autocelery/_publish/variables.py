"""Environment variables that travel with calls: chosen by name, read where the call is sent."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from contextvars import ContextVar

from autocelery import _config
from autocelery.errors import VariableNotSet, VariablesError
from autocelery_host import current_snapshot, current_variables

#: Names of which every live call sent from here takes the variables along.
_named: ContextVar[frozenset[str]] = ContextVar("autocelery_env", default=frozenset())


@contextlib.contextmanager
def naming(names: Collection[str]) -> Iterator[None]:
    """Have the live calls sent in this block, in this thread or task, take the variables ``names`` along too."""
    token = _named.set(_named.get().union(names))
    try:
        yield
    finally:
        _named.reset(token)


def named_here() -> frozenset[str]:
    """Return the names that `naming` has put in force."""
    return _named.get()


def values_of(names: Collection[str]) -> dict[str, str]:
    """Return the values that the variables ``names`` have in this process.

    Raises:
        VariableNotSet: some are not set.
        VariablesError: together they are too large to travel.
    """
    missing = sorted(name for name in names if name not in os.environ)
    if missing:
        raise VariableNotSet(
            f"{_listed(missing)} named in env and not set here; nothing was sent. Set it where the call is sent from "
            "(export NAME=...; an empty value counts), or take it out of env."
        )
    values = {name: os.environ[name] for name in names}
    size = sum(len(os.fsencode(name)) + len(os.fsencode(value)) for name, value in values.items())
    if size > _config.VARIABLES_MAX:
        raise VariablesError(
            f"The variables {', '.join(sorted(values))} have {size} bytes together, and at most "
            f"{_config.VARIABLES_MAX} travel with a call; nothing was sent. Send what is large as an argument."
        )
    return values


def handed_on(snapshot: str, names: Collection[str]) -> str | None:
    """Return the envelope that a call sent from inside a live task carries: what this task was given, or nothing.

    Args:
        snapshot: the id of the snapshot that is called; another than the one that runs gets nothing.
        names: what the call asks for.

    Raises:
        VariableNotSet: they are not among those that this task was given; a host has no key to seal others with.
    """
    here, given = current_snapshot(), current_variables()
    sealed, held = given if given and here and here[0] == snapshot else (None, frozenset[str]())
    missing = sorted(set(names) - held)
    if missing:
        raise VariableNotSet(
            f"{_listed(missing)} not among the variables that this live task was sent with, and it can hand on no "
            "others; nothing was sent. Name it where the first call is sent from."
        )
    return sealed


def _listed(names: list[str]) -> str:
    """Return names as the beginning of a sentence.

    >>> _listed(["A"]), _listed(["A", "B"])
    ('The variable A is', 'The variables A, B are')
    """
    return f"The variable {names[0]} is" if len(names) == 1 else f"The variables {', '.join(names)} are"
