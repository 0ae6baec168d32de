"""The tasks as the app has them registered, each with the function that it runs and its text."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any

from celery import Celery
from celery.app.task import Task

from autocelery._celery.queues import queue_of
from autocelery._celery.signatures import TOLERANT, policy_of
from autocelery._doctor.finding import Place
from autocelery._doctor.source.index import Source
from autocelery._doctor.source.module import Function, Module
from autocelery_host.header import BUILT_IN


@dataclass(frozen=True)
class RegisteredTask:
    """One task: ``task`` is Celery's object, ``module`` and ``function`` its text if the project has it."""

    name: str
    task: Any
    module: Module | None = None
    function: Function | None = None

    @property
    def place(self) -> Place:
        """Where it is."""
        if self.module is None or self.function is None:
            return Place(f"task {self.name}")
        return Place(f"task {self.name}", self.module.shown, self.function.lineno)

    def at(self, node: ast.AST) -> Place:
        """Return the place of something in it."""
        return Place(
            f"task {self.name}", self.module.shown if self.module else "", getattr(node, "lineno", 0)
        )

    @cached_property
    def run(self) -> Callable[..., Any]:
        """What Celery calls: a function, or a method where it gets the task; behind what autoretry_for puts around."""
        found: Callable[..., Any] = getattr(self.task, "_orig_run", None) or self.task.run
        return found

    @cached_property
    def code(self) -> CodeType | None:
        """The compiled function that somebody wrote, behind decorators that say what they wrap."""
        return getattr(_innermost(self.run), "__code__", None)

    @property
    def is_bound(self) -> bool:
        """Whether its function gets the task as its first argument."""
        return inspect.ismethod(self.run)

    @cached_property
    def path(self) -> str:
        """What its function is called where it is defined: ``proj.tasks.add``."""
        function = _innermost(self.run)
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"

    @cached_property
    def signature(self) -> inspect.Signature | None:
        """What a caller gives it; ``None`` where that cannot be told. A decorator's counts, as it does for Celery."""
        try:
            return inspect.signature(self.run, follow_wrapped=False)
        except (TypeError, ValueError):
            return None

    @property
    def is_tolerant(self) -> bool:
        """Whether arguments that do not fit are settled when they arrive: ``signature="tolerant"``."""
        return policy_of(self.task) == TOLERANT

    @property
    def time_limit(self) -> float | None:
        """Its own hard limit, or the app's."""
        own = getattr(self.task, "time_limit", None)
        limit = self.task.app.conf.task_time_limit if own is None else own
        return float(limit) if isinstance(limit, int | float) and limit else None

    @property
    def soft_time_limit(self) -> float | None:
        """Its own soft limit, or the app's."""
        own = getattr(self.task, "soft_time_limit", None)
        limit = self.task.app.conf.task_soft_time_limit if own is None else own
        return float(limit) if isinstance(limit, int | float) and limit else None

    @property
    def own_limit(self) -> float | None:
        """The limit that its decorator gives it, the soft one before the hard one; Celery fills in the app's."""
        conf = self.task.app.conf
        for name in ("soft_time_limit", "time_limit"):
            own = getattr(self.task, name, None)
            if isinstance(own, int | float) and own and own != conf.get(f"task_{name}"):
                return float(own)
        return None

    @property
    def longest_retry_delay(self) -> float:
        """The most seconds until it is tried again, as it says itself; 0 where it leaves that to Celery."""
        own = self.task.default_retry_delay
        fixed = 0.0 if own == Task.default_retry_delay else float(own or 0)
        factor = getattr(self.task, "retry_backoff", False)
        if not factor or not getattr(self.task, "autoretry_for", ()):
            return fixed
        longest, tries = float(getattr(self.task, "retry_backoff_max", 600)), self.max_retries
        grown = max(1.0, float(factor)) * 2.0 ** min(tries - 1, 60) if tries is not None else longest
        return min(longest, grown)

    @property
    def max_retries(self) -> int | None:
        """How often it is tried again; ``None`` for ever."""
        said = (getattr(self.task, "retry_kwargs", None) or {}).get("max_retries", self.task.max_retries)
        return None if said is None else int(said)

    @property
    def acks_late(self) -> bool:
        """Whether its messages are acknowledged when it has ended."""
        return bool(self.task.acks_late)

    @property
    def queue(self) -> str:
        """The queue that its calls go to unless they say otherwise."""
        return queue_of(self.task)

    def body(self) -> Iterator[ast.AST]:
        """Yield the nodes of what runs when it runs: its own text, and what it calls by name in its module."""
        if self.module is not None and self.function is not None:
            yield from _reached(self.module, self.function)


def registered_tasks(app: Celery, source: Source) -> tuple[RegisteredTask, ...]:
    """Return the project's tasks, by their names."""
    found = []
    for name in sorted(app.tasks):
        if name.startswith(BUILT_IN):
            continue
        plain = RegisteredTask(name, app.tasks[name])
        module, function = _text_of(plain.code, source)
        if module is None and _is_installed(plain.code, source):
            continue
        found.append(RegisteredTask(name, app.tasks[name], module, function))
    return tuple(found)


def _innermost(run: Callable[..., Any]) -> Callable[..., Any]:
    function: Callable[..., Any] = inspect.unwrap(getattr(run, "__func__", run))
    return function


def _text_of(code: CodeType | None, source: Source) -> tuple[Module | None, Function | None]:
    if code is None:
        return None, None
    module = source.by_path.get(os.path.realpath(code.co_filename))
    if module is None:
        return None, None
    for function in module.functions:
        first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
        if function.name == code.co_name and first == code.co_firstlineno:
            return module, function
    return module, None


def _is_installed(code: CodeType | None, source: Source) -> bool:
    """Whether a task comes from a package, and is not the project's to mend."""
    return code is not None and not os.path.realpath(code.co_filename).startswith(f"{source.folder}{os.sep}")


def _reached(module: Module, function: Function) -> Iterator[ast.AST]:
    by_name = {each.name: each for each in module.tree.body if isinstance(each, Function)}
    seen, waiting = {function.name}, [function]
    while waiting:
        for node in _own_nodes(waiting.pop()):
            yield node
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in seen:
                called = by_name.get(node.func.id)
                if called is not None:
                    seen.add(called.name)
                    waiting.append(called)


def _own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield what stands in a function's body, its decorators and defaults left out."""
    for statement in function.body:
        yield from ast.walk(statement)
