"""The shape of a call: the parameters that a function has, as far as a call can fit them or not.

Messages outlive code. A message says in one short header what it was sent for,
as in ``say_hello/1(name,polite=)``: the task, the version of its signature, and
its parameters, those with a default marked. It is text, so that a person who looks
into a queue can read it, and a worker can say what has changed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: The header of a message with the shape that it was sent for.
SIGNATURE: Final = "autocelery_signature"
#: A longer one is not sent: it would weigh more than most messages.
MOST_CHARACTERS: Final = 512

_WRITTEN = re.compile(r"(?P<name>[^/()]+)/(?P<version>[1-9]\d{0,8})\((?P<parameters>[^()]*)\)")
_PREFIXES: Final[Mapping[Any, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What calls of a task may look like.

    Args:
        name: the task's, without its module.
        version: one more than there are upgrades of older messages.
        signature: the parameters; a default is there or not, its value is no part of the shape.
    """

    name: str
    version: int
    signature: inspect.Signature

    def __str__(self) -> str:
        return f"{self.name}/{self.version}({parameters_text(self.signature)})"

    def misfit(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return what Python would say of a call with these arguments; nothing if they fit."""
        return misfit(self.signature, args, kwargs)


def misfit(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return what Python would say of a call of a function with that signature; nothing if the arguments fit.

    `inspect.Signature.bind` of some versions (3.11, 3.13.0) is wrong about keywords with the name of a parameter
    that has a place only, so those are settled here.
    """
    kinds = {each.name: each.kind for each in signature.parameters.values()}
    misplaced = [name for name in kwargs if kinds.get(name) is inspect.Parameter.POSITIONAL_ONLY]
    try:
        signature.bind(*args, **{name: kwargs[name] for name in kwargs if name not in misplaced})
    except TypeError as exc:
        return str(exc)
    if misplaced and inspect.Parameter.VAR_KEYWORD not in kinds.values():
        return f"got some positional-only arguments passed as keyword arguments: {', '.join(misplaced)!r}"
    return ""


def shape_of(name: str, function: Callable[..., Any], version: int = 1) -> Shape | None:
    """Return the shape of calls of ``function``; none for one that hides its parameters.

    Args:
        name: of the task; what is before its last dot is left out.
        function: without the parameter that ``bind=True`` fills in.
        version: of its signature.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    return Shape(last_name(name), version, bare(signature))


def last_name(name: str) -> str:
    """Return a task's name without its module, and without what a shape's text has a meaning for."""
    return re.sub(r"[/()]", "_", name.rpartition(".")[2])


def bare(signature: inspect.Signature) -> inspect.Signature:
    """Return ``signature`` with names and kinds alone, and ``...`` for each default."""
    empty = inspect.Parameter.empty
    return inspect.Signature(
        [
            inspect.Parameter(each.name, each.kind, default=empty if each.default is empty else ...)
            for each in signature.parameters.values()
        ]
    )


def parameters_text(signature: inspect.Signature) -> str:
    """Return parameters as ``def`` has them, without spaces, annotations and the values of defaults."""
    parts: list[str] = []
    before: Any = None
    for each in signature.parameters.values():
        if before is each.POSITIONAL_ONLY and each.kind is not each.POSITIONAL_ONLY:
            parts.append("/")
        if each.kind is each.KEYWORD_ONLY and before not in (each.KEYWORD_ONLY, each.VAR_POSITIONAL):
            parts.append("*")
        default = "" if each.default is each.empty else "="
        parts.append(f"{_PREFIXES.get(each.kind, '')}{each.name}{default}")
        before = each.kind
    if before is inspect.Parameter.POSITIONAL_ONLY:
        parts.append("/")
    return ",".join(parts)


def read(text: object) -> Shape | None:
    """Return the shape that a header tells of; none where it is no such text."""
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return None
    written = _WRITTEN.fullmatch(text)
    if written is None:
        return None
    try:
        signature = inspect.Signature(_parameters(written["parameters"]))
    except (ValueError, IndexError):
        return None
    shape = Shape(written["name"], int(written["version"]), signature)
    return shape if str(shape) == text else None


def _parameters(text: str) -> list[inspect.Parameter]:
    parts = text.split(",") if text else []
    slash = parts.index("/") if "/" in parts else 0
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = []
    for place, part in enumerate(parts):
        if part == "/":
            continue
        if part == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
            continue
        name = part.strip("*=")
        default = ... if part.endswith("=") else inspect.Parameter.empty
        if part.startswith("**"):
            found.append(inspect.Parameter(name, inspect.Parameter.VAR_KEYWORD))
        elif part.startswith("*"):
            found.append(inspect.Parameter(name, inspect.Parameter.VAR_POSITIONAL))
            kind = inspect.Parameter.KEYWORD_ONLY
        else:
            own = inspect.Parameter.POSITIONAL_ONLY if place < slash else kind
            found.append(inspect.Parameter(name, own, default=default))
    return found
