"""Whether every call that one signature takes is taken by another one too."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class _Keywords:
    """What keyword arguments calls with a certain number of positional ones may have.

    Args:
        required: those that they must have.
        known: those that they may have.
        filled: those that have a value already: a second one is an error.
        takes_any: whether they may have any others.
    """

    required: frozenset[str]
    known: frozenset[str]
    filled: frozenset[str]
    takes_any: bool


def counterexample(taken: inspect.Signature, by: inspect.Signature) -> str | None:
    """Return a call that ``taken`` takes and ``by`` does not, as its arguments are written; ``None`` without one.

    Args:
        taken: the signature that calls were written for.
        by: the signature that they meet.
    """
    most = max(len(taken.parameters), len(by.parameters)) + 1
    for count in range(most + 1):
        theirs, ours = _keywords(taken, count), _keywords(by, count)
        if theirs is None:
            continue
        if ours is None or not ours.required <= theirs.required:
            return _written(taken, count, theirs.required)
        surplus = sorted(name for name in theirs.known if not _may_have(ours, name))
        if surplus:
            return _written(taken, count, theirs.required | {surplus[0]})
        if theirs.takes_any:
            lost = sorted(name for name in ours.filled if name not in theirs.filled)
            if lost or not ours.takes_any:
                return _written(taken, count, theirs.required | {lost[0] if lost else "anything"})
    return None


def _keywords(signature: inspect.Signature, count: int) -> _Keywords | None:
    """Return what keywords calls with ``count`` positional arguments may have; ``None``: there are no such calls."""
    parameters = list(signature.parameters.values())
    places = [each for each in parameters if each.kind in _BY_PLACE]
    kinds = {each.kind for each in parameters}
    if count > len(places) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return None
    filled = {each.name for each in places[:count]}
    needed = [each for each in parameters if each.default is each.empty and each.name not in filled]
    if any(each.kind is each.POSITIONAL_ONLY for each in needed):
        return None
    known = {each.name for each in parameters if each.kind in _BY_NAME}
    return _Keywords(
        required=frozenset(each.name for each in needed if each.kind in _BY_NAME),
        known=frozenset(known - filled),
        filled=frozenset(known & filled),
        takes_any=inspect.Parameter.VAR_KEYWORD in kinds,
    )


def _may_have(keywords: _Keywords, name: str) -> bool:
    return name in keywords.known or (keywords.takes_any and name not in keywords.filled)


def _written(signature: inspect.Signature, count: int, named: frozenset[str]) -> str:
    places = [each.name for each in signature.parameters.values() if each.kind in _BY_PLACE]
    shown = [*places[:count], *["..." for _ in range(count - len(places))]]
    return ", ".join([*shown, *(f"{name}=..." for name in sorted(named))])
