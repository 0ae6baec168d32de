"""Makes any arguments fit a signature: what is unknown is left out, what is missing takes its default."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def settled(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], list[str]]:
    """Return arguments that fit ``signature``, and what was changed, in words.

    A parameter without a default that got nothing is ``None``.
    """
    parameters = list(signature.parameters.values())
    positional = [each for each in parameters if each.kind in _POSITIONAL]
    takes_any = {each.kind for each in parameters}
    changes: list[str] = []
    fitted = list(args)
    if inspect.Parameter.VAR_POSITIONAL not in takes_any and len(fitted) > len(positional):
        changes.append(_count(len(fitted) - len(positional), "positional argument") + " left out")
        del fitted[len(positional) :]
    filled = {each.name for each in positional[: len(fitted)]}
    named = _named(parameters, filled, kwargs, inspect.Parameter.VAR_KEYWORD in takes_any, changes)
    for each in parameters:
        by_place = each.kind is each.POSITIONAL_ONLY
        is_given = each.name in filled or (each.name in named and not by_place)
        if is_given or each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        if by_place:
            fitted.append(None)  # all that stand before it are there
        else:
            named[each.name] = None
        changes.append(f"{each.name} is missing, and has no default: None")
    return tuple(fitted), named, changes


def _named(
    parameters: Sequence[inspect.Parameter],
    filled: set[str],
    kwargs: Mapping[str, Any],
    takes_any: bool,
    changes: list[str],
) -> dict[str, Any]:
    """Return the keyword arguments that may stay."""
    by_name = {
        each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    kept = {}
    for name, value in kwargs.items():
        is_given_twice = name in filled and name in by_name
        if (takes_any or name in by_name) and not is_given_twice:
            kept[name] = value
        else:
            changes.append(f"{name} left out")
    return kept


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
