"""One Python file: its tree, who is whose parent in it, and what its names mean."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A file that parses.

    Args:
        path: absolute.
        shown: relative to where the user stands, for messages.
        name: dotted, as the folder that the app is imported from has it.
        text: what it holds.
        tree: its syntax.
    """

    path: Path
    shown: str
    name: str
    text: str
    tree: ast.Module

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """For each node the one around it."""
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def calls(self) -> tuple[ast.Call, ...]:
        """Every call."""
        return tuple(node for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """Every function and method."""
        return tuple(
            node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )

    @cached_property
    def meanings(self) -> dict[str, str]:
        """What names stand for that were imported, or defined at the top: ``add`` is ``proj.tasks.add``."""
        found = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for each in node.names:
                    found[each.asname or each.name.partition(".")[0]] = (
                        each.name if each.asname else each.name.partition(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                found.update({each.asname or each.name: f"{base}.{each.name}" for each in node.names})
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found[node.name] = f"{self.name}.{node.name}"
        return found

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        return ".".join(part for part in (package, node.module or "") if part)

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around one, the nearest first."""
        while (found := self.parents.get(node)) is not None:
            yield found
            node = found

    def function_around(self, node: ast.AST) -> Function | None:
        """Return the function that a node stands in."""
        return next((each for each in self.around(node) if isinstance(each, Function)), None)

    def meaning(self, node: ast.AST) -> str:
        """Return what an expression names, dotted: ``requests.get``; empty where it names nothing."""
        text = dotted(node)
        first, dot, rest = text.partition(".")
        return f"{self.meanings.get(first, first)}{dot}{rest}"


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` as text; empty for what is no chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the value that a call gives an argument by its name."""
    return next((each.value for each in call.keywords if each.arg == name), None)


def has_double_star(call: ast.Call) -> bool:
    """Whether a call passes on arguments that its text does not name."""
    return any(each.arg is None for each in call.keywords)


def number(node: ast.AST | None) -> float | None:
    """Return the number that an expression of numbers is: ``10 * 60``; ``None`` for any other."""
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    ):
        return float(node.value)
    if isinstance(node, ast.BinOp):
        left, right = number(node.left), number(node.right)
        if left is None or right is None:
            return None
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
    return None


def constant(node: ast.AST | None) -> object:
    """Return the value of a literal; ``None`` for any other expression."""
    try:
        return ast.literal_eval(node) if isinstance(node, ast.expr) else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
