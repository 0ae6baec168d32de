"""Live calls: a task's ``.live`` and ``.using()``, and functions that are no tasks."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from typing import Any, Final, NoReturn, Protocol

from celery import Celery, group
from celery.app.task import Task
from celery.canvas import Signature, chunks, xmap, xstarmap
from celery.result import AsyncResult

from autocelery._model import Snapshot
from autocelery._publish.targeting import target
from autocelery.errors import WrongCall
from autocelery_host.header import (
    HEADER,
    LIVE_TASK,
    MAIN_PROCESS_OPTIONS,
    RETRY_OPTIONS,
    exec_options,
    header_for,
)

#: What a call may be told, whatever its task says of itself; Celery's ``apply_async`` has the same.
CALL_OPTIONS: Final = frozenset(
    {
        "compression",
        "delivery_mode",
        "exchange",
        "expires",
        "ignore_result",
        "priority",
        "queue",
        "routing_key",
        "serializer",
        "soft_time_limit",
        "time_limit",
    }
)
#: Options of ``@app.task`` that a task keeps that travels by value.
TASK_OPTIONS: Final = (
    "acks_late",
    "acks_on_failure_or_timeout",
    "autoretry_for",
    "default_retry_delay",
    "dont_autoretry_for",
    "expires",
    "ignore_result",
    "max_retries",
    "priority",
    "queue",
    "rate_limit",
    "reject_on_worker_lost",
    "retry_backoff",
    "retry_backoff_max",
    "retry_jitter",
    "retry_kwargs",
    "send_events",
    "serializer",
    "soft_time_limit",
    "store_errors_even_if_ignored",
    "throws",
    "time_limit",
    "track_started",
    "trail",
    "typing",
)
_FUNCTION_OPTIONS: Final = CALL_OPTIONS.union(
    TASK_OPTIONS, MAIN_PROCESS_OPTIONS, RETRY_OPTIONS, ("bind", "name")
)


class Source(Protocol):
    """Gives the snapshot that a call of ``task`` runs, with the packages ``asked`` for; it is asked at each call."""

    def __call__(self, task: Task, /, asked: tuple[str, ...] = ()) -> Snapshot: ...


class LiveCall:
    """A task whose calls carry a snapshot: ``add.live.delay(2, 2).get()``.

    It takes what the task itself takes, and gives what it gives.
    """

    def __init__(
        self,
        task: Task,
        source: Source | Snapshot,
        output: bool = False,
        env: Collection[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._task = task
        self._output = output
        self._env = env
        self._options = options or {}
        self._snapshot = source if isinstance(source, Snapshot) else None
        self.source: Source = (lambda task, asked=(): source) if isinstance(source, Snapshot) else source

    @property
    def name(self) -> str:
        """The task's own name."""
        return str(self._task.name)

    def pinned(self) -> LiveCall:
        """Return the same call with the snapshot of now, however often it is sent."""
        if self._task.app.conf.task_always_eager:  # no snapshot runs
            return self
        return self._from(self.source(self._task))

    @property
    def _is_pinned(self) -> bool:
        """Whether its calls run a snapshot that was chosen when it was made."""
        return self._snapshot is not None

    def _from(self, source: Source | Snapshot) -> LiveCall:
        """Return the same call of a snapshot, or of what ``source`` gives."""
        return LiveCall(self._task, source, self._output, self._env, self._options)

    def _asking_for(self, output: bool, env: Collection[str], options: Mapping[str, Any]) -> LiveCall:
        """Return the same call, with its output sent if ``output``, with the variables ``env`` and ``options`` too."""
        return LiveCall(
            self._task,
            self._snapshot or self.source,
            output or self._output,
            {*self._env, *env},
            {**self._options, **options},
        )

    def delay(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Send a live call with these arguments; `apply_async` without options."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult:
        """Send a live call; ``options`` are those of Celery's ``Task.apply_async``, and ``output=True``.

        With that, `Autocelery.stream` gives what the task prints.

        Raises:
            SnapshotError: the tree cannot be shipped; nothing was sent.
            VariableNotSet: a variable that it names is not set here; nothing was sent.
            StoreError: the blob store does not take it; nothing was sent.
            BrokerUnavailable: the broker cannot be reached; no message was sent.
        """
        task, app = self._task, self._task.app
        output = options.pop("output", self._output)
        options = {**self._options, **options}
        if app.conf.task_always_eager:
            return task.apply_async(args, kwargs, **options)
        headers = {**(options.pop("headers", None) or {}), HEADER: self._header()}
        auto = app.autocelery
        with auto.listener.hearing() if output and not auto.shipper.runs_here else nullcontext():
            return task.apply_async(args, kwargs, headers=headers, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say how a live call is sent: this is no function.

        Raises:
            WrongCall: always.
        """
        function = self._function
        raise WrongCall(
            f"{self._written}(...) runs nothing: a live call runs on a worker. Send it with "
            f"{self._written}.delay(...), or run the function here with {function}(...)."
        )

    def apply(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say what to call instead: only a worker runs exactly a snapshot's code.

        Raises:
            WrongCall: always.
        """
        function = self._function
        raise WrongCall(
            f"{self._written}.apply(...) would run what this process has imported, not the code as it is on disk "
            f"now. Send it with {self._written}.apply_async(...), or run it here with {function}.apply(...)."
        )

    @property
    def _function(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def _written(self) -> str:
        """How the caller has written this."""
        return f"{self._function}.{'using(...)' if self._snapshot else 'live'}"

    def signature(self, args: Any = None, kwargs: Any = None, **options: Any) -> Signature:
        """Return an ordinary signature of the live call, for chains, groups, chords and callbacks.

        The snapshot is taken now: whenever the signature is sent, it runs the code as it is at this moment.

        Raises:
            WrongCall: it was made with ``output=True``, which a block asks for where signatures are sent.
            SnapshotError: the tree cannot be shipped.
            StoreError: the blob store does not take it.
        """
        if self._output:
            raise WrongCall(
                f"A signature of {self._written} cannot ask for output: who sends it does. Make it without "
                "output=True, and send it in `with auto.live(output=True):`."
            )
        header = self._header()
        immutable = options.pop("immutable", False)
        extra = options.pop("options", None) or {}
        merged = {**exec_options(self._task), **self._options, **extra, **options}
        headers = {**(merged.pop("headers", None) or {}), HEADER: header}
        merged |= {"headers": headers, HEADER: header, "route_name": self.name}
        merged.setdefault("shadow", self.name)
        app = self._task.app
        return app.signature(LIVE_TASK, args=args, kwargs=kwargs, options=merged, immutable=immutable)

    subtask = signature

    def s(self, *args: Any, **kwargs: Any) -> Signature:
        """Return ``signature(args, kwargs)``."""
        return self.signature(args, kwargs)

    def si(self, *args: Any, **kwargs: Any) -> Signature:
        """Return an immutable signature, which takes no result of another."""
        return self.signature(args, kwargs, immutable=True)

    def map(self, it: Iterable[Any]) -> Signature:
        """Return a signature that runs the task once for each item, in one live call."""
        return self._inline(xmap(self._task.s(), it, app=self._task.app))

    def starmap(self, it: Iterable[Any]) -> Signature:
        """Return a signature that runs the task once for each tuple of arguments, in one live call."""
        return self._inline(xstarmap(self._task.s(), it, app=self._task.app))

    def chunks(self, it: Iterable[Any], n: int) -> Chunks:
        """Return a group of live calls, each with ``n`` tuples of arguments."""
        parts = chunks(self._task.s(), it, n, app=self._task.app).group()
        return Chunks([self._inline(each) for each in parts.tasks], app=self._task.app)

    def _inline(self, plain: Signature) -> Signature:
        inner = self._task.app.tasks[plain["task"]]
        call = LiveCall(inner, self.source(self._task), env=self._env, options=self._options)
        return call.signature(plain.args, plain.kwargs, immutable=True)

    def _header(self) -> dict[str, Any]:
        app = self._task.app
        runs = target(app.autocelery, self._task, self._snapshot or self.source, self._env)
        return header_for(app, self.name, runs, self._task)

    def __repr__(self) -> str:
        return f"<live {self.name}{f' of snapshot {self._snapshot}' if self._snapshot else ''}>"


class Chunks(group):
    """The group that Celery's ``chunks`` become when they are asked for it; these are one from the start."""

    def group(self) -> Chunks:
        """Return itself."""
        return self


def check_options(what: str, options: Collection[str], known: Collection[str], more: str = "") -> None:
    """Refuse options that would be dropped.

    Raises:
        WrongCall: ``options`` has what is not ``known``.
    """
    unknown = sorted(set(options).difference(known))
    if unknown:
        takes = ", ".join(sorted({*known, "output", "env", "packages"}))
        raise WrongCall(f"{what} takes no {', '.join(unknown)}. It takes {takes}.{more}")


def task_of(call: LiveCall) -> Task:
    """Return the task of a live call of the working tree.

    Raises:
        WrongCall: the call is pinned to a snapshot.
    """
    if call._snapshot is not None:
        raise WrongCall(
            f"{call!r} cannot be mapped over: a map runs the working tree. Send a group of its signatures: "
            f"group({call._written}.s(item) for item in items)"
        )
    return call._task


#: Held while a task that is in no registry runs in place, for then Celery looks it up there.
_in_place = threading.RLock()


class _InNoRegistry:
    """Mixed into the class of a task that is made of a function: the next one of the same name does not meet it."""

    name: str
    app: Celery

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Run it in this process, as calls do under ``task_always_eager``."""
        tasks = self.app.tasks
        with _in_place:
            before = tasks.get(self.name)
            tasks[self.name] = self
            try:
                return super().apply(*args, **kwargs)  # type: ignore[misc]
            finally:
                del tasks[self.name]
                if before is not None:
                    tasks[self.name] = before


def task_from(app: Celery, function: Any, options: dict[str, Any]) -> Task:
    """Return a task of ``function`` that is in no registry.

    Raises:
        WrongCall: ``function`` is none, or an option is one that such a task cannot keep.
    """
    if not callable(function) or isinstance(function, Signature):
        raise WrongCall(
            f"auto.live() makes live calls of a task or a function, and {function!r} is none. Give it the task, or "
            "send what you have in `with auto.live():`."
        )
    check_options(
        "auto.live(function)", options, _FUNCTION_OPTIONS, " For others make it a task, with @app.task(...)."
    )
    module = getattr(function, "__module__", None) or "__main__"
    name = (
        options.pop("name", None) or f"{module}.{getattr(function, '__qualname__', type(function).__name__)}"
    )
    is_bound = options.pop("bind", False)
    members = {
        "app": app,
        "name": name,
        "run": function if is_bound else staticmethod(function),
        "__module__": module,
        "__wrapped__": staticmethod(function),
        "__doc__": function.__doc__,
        "typing": False,
        **options,
    }
    return type(getattr(function, "__name__", "live"), (_InNoRegistry, app.Task), members)()


def is_in_main(task: Task) -> bool:
    """Whether ``task`` was defined in ``__main__``, which no host can import."""
    return type(task).__module__ in ("__main__", "__mp_main__")
