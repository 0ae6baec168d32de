"""The tasks that a text declares, read and not run: the code of another revision is never imported.

What a text does not say is a doubt, and never a guess: a name that is put together, options out of another
module, a decorator of the project's own.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autocelery._celery.signatures import POLICIES, STRICT
from autocelery._check.comparing import Declared
from autocelery._check.scope import Function, Scope, assigned_in
from autocelery_host.shapes import Shape, last_name

#: How many classes of one module a class is followed through.
_DEEPEST = 8
_NOTHING = ast.Constant(None)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text says of a task, or of what may be one.

    Args:
        name: the task's; where the text does not say it, the one that Celery would give it.
        declared: as far as the text says it.
        around: what else bears on it, as it is written: other decorators, or that a class is registered.
        is_task: whether it is one for certain.
    """

    name: str
    declared: Declared
    around: str
    is_task: bool

    @property
    def path(self) -> str:
        """The file that it is in."""
        return self.declared.place.rpartition(":")[0]

    @property
    def is_likely(self) -> bool:
        """Whether it is a task, or seems to be one."""
        return self.is_task or "task" in self.around.casefold()


def readings_of(text: str, module: str, path: str) -> list[Reading]:
    """Return what a module says of tasks; of one task more than once where it is defined in two ways.

    Args:
        text: the module's source.
        module: what it is imported as.
        path: for messages.

    Raises:
        SyntaxError: it is no Python of this interpreter's version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # the interpreter says so when it imports it
        return list(_Reader(Scope(ast.parse(text)), module, path).read())


@dataclass(frozen=True, slots=True)
class _Found:
    """Where something is: the name of its function or class, the line, and what `Reading` has of it."""

    name: str
    line: int
    written: Sequence[ast.expr] = ()
    is_task: bool = True

    @property
    def around(self) -> str:
        return " ".join(ast.unparse(each) for each in self.written)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one module."""

    scope: Scope
    module: str
    path: str

    def read(self) -> Iterator[Reading]:
        for node in self.scope.nodes:
            if isinstance(node, Function):
                yield from self._of_function(node)
            elif isinstance(node, ast.ClassDef):
                yield from self._of_class(node)
            elif isinstance(node, ast.Call):
                yield from self._of_call(node)

    def _of_function(self, node: Function) -> Iterator[Reading]:
        """Yield what is decorated: a task, or what may be one."""
        is_task = False
        for each in node.decorator_list:
            maker, call = (each.func, each) if isinstance(each, ast.Call) else (each, None)
            if self.scope.makes_tasks(maker):
                is_task = True
                around = [other for other in node.decorator_list if other is not each]
                yield self._made(_Found(node.name, node.lineno, around), node.args, call)
        if node.decorator_list and not is_task:
            found = _Found(node.name, node.lineno, node.decorator_list, is_task=False)
            yield self._doubted(found, "It is decorated with what may be anything.")

    def _of_call(self, node: ast.Call) -> Iterator[Reading]:
        """Yield a task that is made without a decorator, as in ``add = app.task(plain)``."""
        maker, call = (node.func.func, node.func) if isinstance(node.func, ast.Call) else (node.func, node)
        if not node.args or not self.scope.makes_tasks(maker):
            return
        target = node.args[0]
        function = self.scope.functions.get(target.id) if isinstance(target, ast.Name) else None
        if function is not None:
            found = _Found(function.name, function.lineno, function.decorator_list)
            yield self._made(found, function.args, call)
        elif isinstance(target, ast.Name | ast.Attribute):
            found = _Found(_last(target), node.lineno, [node], is_task=False)
            yield self._doubted(found, "It is made of a function that its module does not define.")

    def _of_class(self, node: ast.ClassDef) -> Iterator[Reading]:
        """Yield a task that is a class with a ``run``."""
        own = {name: value for each in node.body for name, value in assigned_in(each).items()}
        if isinstance(own.get("abstract"), ast.Constant):
            return
        is_registered = node.name in self.scope.registered
        if not is_registered and not any(_last(base).endswith("Task") for base in self._bases(node, 0)):
            return
        options, run = self._members(node, 0)
        around = [*node.decorator_list, *(run.decorator_list if run is not None else ())]
        around.append(ast.Constant("a registered task" if is_registered else "a class of tasks"))
        found = _Found(node.name, node.lineno, around, is_registered)
        if run is not None:
            policy = options.get("signature_policy", options.get("signature", _NOTHING))
            yield self._declared(
                found, run.args, {**options, "bind": ast.Constant(True), "signature": policy}
            )
        elif is_registered or "name" in options:
            yield self._doubted(found, "Its run is not in its module.", _text(options.get("name")))

    def _bases(self, node: ast.ClassDef, depth: int) -> Iterator[ast.expr]:
        for base in node.bases:
            yield base
            if isinstance(base, ast.Name) and base.id in self.scope.classes and depth < _DEEPEST:
                yield from self._bases(self.scope.classes[base.id], depth + 1)

    def _members(self, node: ast.ClassDef, depth: int) -> tuple[dict[str, ast.expr], Function | None]:
        """Return what a class assigns, and its ``run``; what it inherits from others of its module is its own."""
        options: dict[str, ast.expr] = {}
        run = None
        for base in reversed(node.bases if depth < _DEEPEST else []):
            if isinstance(base, ast.Name) and base.id in self.scope.classes:
                inherited, its_run = self._members(self.scope.classes[base.id], depth + 1)
                options |= inherited
                run = its_run or run
        for each in node.body:
            options |= {name: self.scope.value(value) or value for name, value in assigned_in(each).items()}
            if isinstance(each, Function) and each.name == "run":
                run = each
        return options, run

    def _made(self, found: _Found, arguments: ast.arguments, call: ast.Call | None) -> Reading:
        """Return what Celery makes of a function with the options of ``call``."""
        options: dict[str, ast.expr] = {}
        for each in call.keywords if call is not None else ():
            given = {each.arg: each.value} if each.arg else self.scope.items(each.value)
            if given is None:
                return self._doubted(found, "Its options are another module's, or put together.")
            options |= {name: self.scope.value(value) or value for name, value in given.items()}
        return self._declared(found, arguments, options)

    def _declared(self, found: _Found, arguments: ast.arguments, options: Mapping[str, ast.expr]) -> Reading:
        name, bind, upgrade = (options.get(each, _NOTHING) for each in ("name", "bind", "upgrade"))
        is_upgraded = isinstance(upgrade, ast.Dict) and None not in upgrade.keys
        said = {
            "name": isinstance(name, ast.Constant),
            "bind": isinstance(bind, ast.Constant),
            "upgrade": is_upgraded or (isinstance(upgrade, ast.Constant) and upgrade.value is None),
        }
        if not all(said.values()):
            missing = " and ".join(option for option, is_said in said.items() if not is_said)
            return self._doubted(found, f"Its module does not say its {missing} outright.", _text(name))
        shown = _text(name) or f"{self.module}.{found.name}"
        version = len(upgrade.keys) + 1 if isinstance(upgrade, ast.Dict) else 1
        is_bound = isinstance(bind, ast.Constant) and bool(bind.value)
        policy = _text(options.get("signature"))
        shape = Shape(last_name(shown), version, _signature(arguments, is_bound))
        declared = Declared(shape, policy if policy in POLICIES else STRICT, f"{self.path}:{found.line}")
        return Reading(shown, declared, found.around, found.is_task)

    def _doubted(self, found: _Found, doubt: str, name: str = "") -> Reading:
        declared = Declared(None, place=f"{self.path}:{found.line}", doubt=doubt)
        return Reading(name or f"{self.module}.{found.name}", declared, found.around, found.is_task)


def _signature(arguments: ast.arguments, is_bound: bool) -> inspect.Signature:
    kinds = inspect.Parameter
    places: list[tuple[ast.arg, Any]] = [(each, kinds.POSITIONAL_ONLY) for each in arguments.posonlyargs]
    places += [(each, kinds.POSITIONAL_OR_KEYWORD) for each in arguments.args]
    without = len(places) - len(arguments.defaults)
    found = [
        kinds(each.arg, kind, default=... if place >= without else kinds.empty)
        for place, (each, kind) in enumerate(places)
    ][1 if is_bound else 0 :]
    if arguments.vararg:
        found.append(kinds(arguments.vararg.arg, kinds.VAR_POSITIONAL))
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(kinds(each.arg, kinds.KEYWORD_ONLY, default=kinds.empty if default is None else ...))
    if arguments.kwarg:
        found.append(kinds(arguments.kwarg.arg, kinds.VAR_KEYWORD))
    return inspect.Signature(found)


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _last(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]
