"""Where the code sends tasks: which one, how, and with what."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autocelery._doctor.finding import Place
from autocelery._doctor.source.index import Source
from autocelery._doctor.source.module import Module, dotted, has_double_star, keyword
from autocelery._doctor.source.registry import RegisteredTask

#: Methods of a task that send it, or make a signature of it.
SENDING = frozenset({"delay", "apply_async", "delay_on_commit", "apply_async_on_commit"})
SIGNING = frozenset({"s", "si", "signature", "subtask"})
#: Calls whose keywords are options of a message, besides the above.
_WITH_OPTIONS = frozenset(
    {"apply_async", "apply_async_on_commit", "send_task", "retry", "signature", "subtask"}
)


def message_option(call: ast.Call, name: str) -> ast.expr | None:
    """Return an option that a call gives a message, its ``eta`` for one; ``None`` where it sends and signs none."""
    if not isinstance(call.func, ast.Attribute):
        return keyword(call, name) if dotted(call.func) == "signature" else None
    signs = call.func.attr == "set" and _is_signing(call.func.value)
    return keyword(call, name) if signs or call.func.attr in _WITH_OPTIONS else None


def is_of_a_pool(call: ast.Call) -> bool:
    """Whether it is multiprocessing's ``apply_async``, which is given a function where Celery's is given arguments."""
    first = call.args[0] if call.args else None
    is_async = isinstance(call.func, ast.Attribute) and call.func.attr == "apply_async"
    is_named = isinstance(call.func, ast.Attribute) and dotted(call.func.value).lower().endswith("pool")
    return is_async and (is_named or isinstance(first, ast.Attribute | ast.Lambda))


def _is_signing(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SIGNING


@dataclass(frozen=True, slots=True)
class Send:
    """One call such as ``add.delay(2, 2)``; ``task`` is ``None`` where it could not be told which is meant."""

    module: Module
    call: ast.Call
    method: str
    task: RegisteredTask | None

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place("", self.module.shown, self.call.lineno)

    @property
    def takes_options(self) -> bool:
        """Whether its keywords are the message's, not the task's."""
        return self.method in ("apply_async", "apply_async_on_commit", "signature", "subtask")

    @property
    def positional(self) -> Sequence[ast.expr] | None:
        """The task's positional arguments; ``None`` where the text does not say how many there are."""
        if not self.takes_options:
            given: Sequence[ast.expr] = self.call.args
        else:
            args = self.call.args[0] if self.call.args else keyword(self.call, "args")
            if args is None:
                return None if has_double_star(self.call) else ()
            if not isinstance(args, ast.Tuple | ast.List):
                return None
            given = args.elts
        return None if any(isinstance(each, ast.Starred) for each in given) else given

    @property
    def named(self) -> dict[str, ast.expr] | None:
        """The task's arguments by name; ``None`` where the text does not say which there are."""
        if not self.takes_options:
            if has_double_star(self.call):
                return None
            return {str(each.arg): each.value for each in self.call.keywords}
        kwargs = self.call.args[1] if len(self.call.args) > 1 else keyword(self.call, "kwargs")
        if kwargs is None:
            return None if has_double_star(self.call) else {}
        if not isinstance(kwargs, ast.Dict) or any(not isinstance(key, ast.Constant) for key in kwargs.keys):
            return None
        return {
            str(key.value): value
            for key, value in zip(kwargs.keys, kwargs.values, strict=True)
            if isinstance(key, ast.Constant)
        }

    def option(self, name: str) -> ast.expr | None:
        """Return what ``apply_async`` is told besides the arguments: ``countdown``, ``eta``, ``queue``."""
        return keyword(self.call, name) if self.takes_options else None

    def arguments(self) -> list[ast.expr]:
        """Return the expressions that are seen to be given to the task."""
        return [*(self.positional or ()), *(self.named or {}).values()]


def sends_in(source: Source, tasks: Sequence[RegisteredTask]) -> Iterator[Send]:
    """Yield every call that sends a task, or makes a signature."""
    known = _Known(tasks)
    for module, call in source.calls():
        found = as_send(module, call, known)
        if found is not None:
            yield found


class _Known:
    """The tasks by what code may call them."""

    def __init__(self, tasks: Sequence[RegisteredTask]) -> None:
        self.by_path = {each.path: each for each in tasks}
        self.by_text = {
            (each.module.name, each.function.name): each for each in tasks if each.module and each.function
        }
        names = [each.function.name for each in tasks if each.function]
        self.by_last = {
            each.function.name: each
            for each in tasks
            if each.function and names.count(each.function.name) == 1
        }

    def find(self, module: Module, node: ast.expr) -> RegisteredTask | None:
        """Return the task that an expression means: by where it was imported from, else by a name that is unique."""
        meaning = module.meaning(node)
        if not meaning:
            return None
        base, _, last = meaning.rpartition(".")
        found = self.by_path.get(meaning) or self.by_text.get((base, last))
        is_import = dotted(node).partition(".")[0] in module.meanings
        return found or (self.by_last.get(last) if is_import else None)


def known_tasks(tasks: Sequence[RegisteredTask]) -> _Known:
    """Return the tasks as `as_send` looks them up."""
    return _Known(tasks)


def as_send(module: Module, call: ast.AST, known: _Known) -> Send | None:
    """Return what a call sends, or signs; ``None`` where it does neither."""
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    method = call.func.attr
    if method not in SENDING and method not in SIGNING:
        return None
    task = known.find(module, call.func.value)
    if task is None and method in SIGNING:  # many things have a method that is called s
        return None
    return Send(module, call, method, task)
