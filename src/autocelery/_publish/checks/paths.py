"""Paths that code spells out: worked out from its text where that is possible, without running it."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from autocelery._publish.checks.reached import Source, place_of
from autocelery._publish.checks.shipped import Shipped

#: What is done with a path: ``named`` is no more than that it stands in the code.
Use = Literal["read", "written", "named"]

_READERS = frozenset(
    {
        "fromfile", "genfromtxt", "get_data", "imread", "load", "load_dotenv", "loadtxt", "memmap", "open",
        "open_binary", "open_text", "parse", "read", "read_binary", "read_bytes", "read_csv", "read_excel",
        "read_feather", "read_json", "read_parquet", "read_pickle", "read_table", "read_text",
    }
)  # fmt: skip
_WRITERS = frozenset({"write_bytes", "write_text", "touch", "mkdir", "to_csv", "to_parquet", "to_pickle"})
#: Those that open a file of this name and nothing else.
_SURE = frozenset(
    {"load_dotenv", "read_bytes", "read_csv", "read_excel", "read_json", "read_parquet", "read_text"}
)
_OPENERS = frozenset({"bz2", "codecs", "gzip", "io", "lzma"})
_PARENTS = frozenset({"dirname"})
_SAME = frozenset({"abspath", "normpath", "realpath", "resolve", "absolute", "fspath", "str", "Path", "PurePath",
                   "as_posix", "expanduser", "as_file", "enter_context"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class NamedPath:
    """A path in the code: absolute; ``written`` is the literal where it is nothing but that.

    ``is_sure``: what is called opens a file of the disk, and nothing else that has such a name.
    """

    line: int
    path: str
    use: Use
    written: str | None
    is_guarded: bool
    is_sure: bool = True


def named_paths(source: Source, shipped: Shipped) -> Iterator[NamedPath]:
    """Yield the paths that ``source`` spells out and that can be worked out from its text."""
    reader = _Reader(source, shipped)
    used: set[ast.AST] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            yield from reader.opened(node, used)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.BinOp | ast.Call) and node not in used:
            found = reader.value(node)
            if found is not None and found != reader.own:
                used.update(ast.walk(node))
                yield NamedPath(node.lineno, found, "named", None, node in source.guarded)


@dataclass(frozen=True)
class _Reader:
    source: Source
    shipped: Shipped

    @property
    def own(self) -> str:
        """The file's own path."""
        return self.source.path

    def opened(self, call: ast.Call, used: set[ast.AST]) -> Iterator[NamedPath]:
        """Yield the path that ``call`` opens."""
        name = _called(call)
        if name not in _READERS and name not in _WRITERS:
            return
        of_method = call.func.value if isinstance(call.func, ast.Attribute) else None
        resource = self._resource(name, call)
        mode_at, target = 1, call.args[0] if call.args else None
        found = resource or (self._literal_path(of_method) if of_method is not None else None)
        if found is not None:
            mode_at, target = 0, None
        elif isinstance(target, ast.expr):
            found = self._literal(target) or self.value(target)
        if found is None:
            return
        used.update(ast.walk(call))
        written = _text(target) or _text(_path_literal(of_method))
        use: Use = "written" if name in _WRITERS or _writes(call, mode_at) else "read"
        is_sure = target is None or name in _SURE or (name == "open" and _opens_a_file(of_method))
        yield NamedPath(call.lineno, found, use, written, call in self.source.guarded, is_sure)

    def value(self, node: ast.expr) -> str | None:
        """Return the absolute path that an expression built from ``__file__`` or a package gives."""
        if isinstance(node, ast.Name):
            if node.id == "__file__":
                return self.own
            bound = self.constants.get(node.id)
            return self.value(bound) if bound is not None and not _mentions(bound, node.id) else None
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Add):
            left, right = self.value(node.left), _text(node.right)
            if left is None or right is None:
                return None
            return os.path.normpath(f"{left}/{right}" if isinstance(node.op, ast.Div) else left + right)
        return self._call(node) if isinstance(node, ast.Call) else None

    @cached_property
    def constants(self) -> dict[str, ast.expr]:
        """What the module's own names are bound to, each that is bound once."""
        bound: dict[str, ast.expr] = {}
        often: set[str] = set()
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                often.add(node.id) if node.id in bound else None
                bound.setdefault(node.id, node)
        for node in self.source.tree.body:
            if (
                isinstance(node, ast.Assign)
                and len(node.targets) == 1
                and isinstance(node.targets[0], ast.Name)
            ):
                bound[node.targets[0].id] = node.value
        return {
            name: node for name, node in bound.items() if name not in often and not isinstance(node, ast.Name)
        }

    def _attribute(self, node: ast.Attribute) -> str | None:
        if node.attr == "parent":
            inner = self.value(node.value)
            return os.path.dirname(inner) if inner else None
        if isinstance(node.value, ast.Name):
            return self._of_other_module(node.value.id, node.attr)
        return None

    def _of_other_module(self, module: str, name: str) -> str | None:
        """Return ``rates.MODEL`` where that module of the tree has worked it out already."""
        for each in self.source.imports:
            full = f"{each.module}.{each.name}" if each.name == module else each.module
            loaded = sys.modules.get(full)
            if full.rpartition(".")[2] == module and loaded is not None and place_of(full, self.shipped):
                found = vars(loaded).get(name)
                text = os.fspath(found) if isinstance(found, os.PathLike) else None
                return text if isinstance(text, str) and os.path.isabs(text) else None
        return None

    def _call(self, node: ast.Call) -> str | None:
        name = _called(node)
        of_method = node.func.value if isinstance(node.func, ast.Attribute) else None
        if name == "files" and node.args:
            return self._package(node.args[0])
        if name == "join" and node.args:
            return self._joined(self.value(node.args[0]), node.args[1:])
        if name == "joinpath" and of_method is not None:
            return self._joined(self.value(of_method), node.args)
        if name in _PARENTS and node.args:
            inner = self.value(node.args[0])
            return os.path.dirname(inner) if inner else None
        if name in _SAME:
            inner_node = node.args[0] if node.args else of_method
            inner = self.value(inner_node) if isinstance(inner_node, ast.expr) else None
            return self._joined(inner, node.args[1:]) if name in ("Path", "PurePath") else inner
        return None

    def _joined(self, base: str | None, parts: list[ast.expr]) -> str | None:
        texts = [_text(part) for part in parts]
        if base is None or any(text is None for text in texts):
            return None
        return os.path.normpath(os.path.join(base, *[str(text) for text in texts]))

    def _package(self, node: ast.expr) -> str | None:
        name = _text(node)
        if isinstance(node, ast.Name) and node.id in ("__package__", "__name__"):
            name = self.source.package
        place = place_of(name, self.shipped) if name else None
        if place is None:
            return None
        return place if os.path.isdir(place) else os.path.dirname(place)

    def _resource(self, name: str, call: ast.Call) -> str | None:
        """Return the file of ``pkgutil.get_data("proj", "x")``, ``resources.read_text("proj", "x")``."""
        is_old = (
            name in ("get_data", "read_text", "read_binary", "open_text", "open_binary")
            and len(call.args) >= 2
        )
        return self._joined(self._package(call.args[0]), call.args[1:2]) if is_old else None

    def _literal(self, node: ast.expr) -> str | None:
        """Return the path of a text, as a task finds it: from the working directory."""
        text = _text(node)
        if not text or "\n" in text or "://" in text or "\0" in text or text.startswith(("~", "{", "<")):
            return None
        if "." not in os.path.basename(text) and "/" not in text:
            return None
        return os.path.normpath(os.path.join(self.shipped.cwd, text))

    def _literal_path(self, node: ast.expr | None) -> str | None:
        """Return the path of ``Path("data/x.csv")``, or of what else can be worked out."""
        inner = _path_literal(node)
        if inner is not None:
            return self._literal(inner)
        return self.value(node) if node is not None else None


def _path_literal(node: ast.expr | None) -> ast.expr | None:
    is_path = isinstance(node, ast.Call) and _called(node) in ("Path", "PurePath") and len(node.args) == 1
    return node.args[0] if isinstance(node, ast.Call) and is_path and _text(node.args[0]) else None


def _opens_a_file(of: ast.expr | None) -> bool:
    return of is None or (isinstance(of, ast.Name) and of.id in _OPENERS)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _writes(call: ast.Call, at: int) -> bool:
    if _called(call) != "open":
        return False
    keywords = [each.value for each in call.keywords if each.arg == "mode"]
    mode = _text(keywords[0] if keywords else call.args[at] if len(call.args) > at else None)
    return mode is not None and bool(set(mode) & set("wax+"))


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))
