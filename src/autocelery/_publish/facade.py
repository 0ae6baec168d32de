"""`Autocelery`: what a project adds to its app."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.app.task import Task
from celery.local import maybe_evaluate
from celery.result import AsyncResult

from autocelery import _config
from autocelery._celery import following, live_task, routing, signatures, unreachable
from autocelery._model import Snapshot
from autocelery._publish import attendance, variables
from autocelery._publish.calling import (
    CALL_OPTIONS,
    LiveCall,
    Source,
    check_options,
    is_in_main,
    task_from,
    task_of,
)
from autocelery._publish.targeting import target
from autocelery.errors import AppNotFound, ConfigurationError, NotShippable
from autocelery_host import aims, current_snapshot, messages
from autocelery_host.header import Target

if TYPE_CHECKING:
    from autocelery._publish.listening import Listener
    from autocelery._publish.mapping import Waited
    from autocelery._publish.reading import Output
    from autocelery._publish.shipping import Shipper

#: Requirements that every live call sent from here asks for.
_asked: ContextVar[tuple[str, ...]] = ContextVar("autocelery_packages", default=())


class Autocelery:
    """Adds the live task to a Celery app; everything else stays as it is.

    Args:
        app: the app, before or after its tasks are defined.
        top: the top of the working tree that is shipped. By default the git
            repository of the app's module, else the nearest folder upwards
            that looks like a project's; ``AUTOCELERY_ROOT`` says otherwise.

    >>> app = Celery("proj", broker="redis://")
    >>> auto = Autocelery(app)
    """

    def __init__(self, app: Celery, top: str | Path | None = None) -> None:
        self.app = app
        self._top = Path(top).resolve() if top is not None else None
        app.autocelery = self
        messages.install(app)
        signatures.install(app)
        routing.install(app, self._top)
        unreachable.install(app)
        _add_attributes()
        if app.finalized:
            live_task.add_to(app)
        else:
            app.on_after_finalize.connect(lambda **_: live_task.add_to(app), weak=False)
        following.follow_workers_of(app)
        attendance.look_after_live_calls_of(app)

    @property
    def shipper(self) -> Shipper:
        """What makes and sends snapshots; a worker never needs it.

        Raises:
            ConfigurationError: the app's worker is a thread of a test's process.
        """
        live_task.require_process(self.app)
        eager = getattr(self.app, "autocelery_eager", None)
        return eager.shipper if eager is not None else self._shipper

    @cached_property
    def _shipper(self) -> Shipper:
        from autocelery._publish.shipping import Shipper

        return Shipper(self.app, self._top)

    @cached_property
    def listener(self) -> Listener:
        """What hears the calls that were asked for their output."""
        from autocelery._publish.listening import Listener

        return Listener(lambda: self.shipper.store)

    def snapshot(self) -> Snapshot:
        """Return the working tree as it is now, shipped: pin it once, use it many times.

        Inside a live task this is the snapshot that runs.

        Raises:
            SnapshotError: the tree cannot be shipped; nothing was sent.
            StoreError: the blob store does not take it.
        """
        here = current_snapshot()
        return Snapshot(*here) if here is not None else self.shipper.ship()

    def live(self, function: Any = None, /, **options: Any) -> Any:
        """Make calls live.

        Without a function: a context manager in which every call that this
        thread or task sends is live; ``auto.live(snapshot)`` pins it to one
        snapshot. With a function: something with ``delay`` and
        ``apply_async`` that runs this function, wherever it was defined.

        Args:
            function: a function, a task or a `Snapshot`.
            **options: of Celery's ``@app.task``, such as ``time_limit=60``;
                ``output=True``, so that `stream` gives what the calls print;
                ``env=["API_KEY"]``, environment variables to take along beside
                those that the project names, encrypted to the workers;
                ``packages=["polars==1.*"]``, requirements (PEP 508) to have
                beside what the project needs. uv finds their versions here,
                and workers have exactly those. Of a task, those that a call may be told (``queue``,
                ``time_limit`` ...); of a block, the last three.

        Raises:
            WrongCall: an option is none of these, or ``function`` is nothing that can be called.
            ConfigurationError: ``env`` is no list of names, ``packages`` none of requirements, or they are to
                be had with a snapshot that is there already.
            NotShippable: the function refers to what cannot be pickled.
        """
        output = bool(options.pop("output", False))
        env = _config.variable_names(options.pop("env", ()))
        asked = _requirements(options.pop("packages", ()), function)
        if isinstance(function, str):
            function = self.found(function)
        if function is None or isinstance(function, Snapshot):
            check_options("A block of auto.live()", options, ())
            return self._sending(function or self.source, output, env, asked)
        function = maybe_evaluate(function)
        if isinstance(function, LiveCall | Task):
            more = " What else a task does, its own @app.task says."
            check_options("auto.live(task)", options, CALL_OPTIONS, more)
        if isinstance(function, LiveCall):
            if asked:
                function = function._from(partial(function.source, asked=asked))
            return function._asking_for(output, env, options) if output or env or options else function
        if isinstance(function, Task):
            source: Source = partial(self.source, asked=asked) if asked else self.source
            return LiveCall(function, source, output, env, options)
        task = task_from(self.app, function, dict(options))
        return LiveCall(task, partial(self._with_value, asked=asked), output, env)

    def using(self, task: Task | LiveCall, snapshot: Snapshot | str) -> LiveCall:
        """Return ``task`` with calls that run exactly ``snapshot``: a `Snapshot`, or the first digits of its id."""
        pinned = snapshot if isinstance(snapshot, Snapshot) else self.found(snapshot)
        return task._from(pinned) if isinstance(task, LiveCall) else LiveCall(maybe_evaluate(task), pinned)

    def map(self, function: Any, items: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Yield ``function(item)`` for each item, in order, computed on the workers.

        Args:
            function: a task, or any function of one argument.
            items: the arguments; an iterator is read as it is needed. An array gives its rows (the
                items along its first axis), a data frame its rows as named tuples (``itertuples``).
            **options: ``chunk`` (items a call; default: by their number),
                ``window`` (calls that are under way at once, 64),
                ``timeout`` (seconds for each result), ``progress`` (a bar on
                standard error; default: where that is a terminal), ``output``
                (show here what the function prints; default: no), ``env``
                (names of environment variables to take along), ``packages``
                (as for `live`), and what a call may be told: ``queue``,
                ``time_limit`` ... A task's own hold too; its time limits for
                each item of a call.

        Raises:
            WrongCall: an option is none of these, or ``chunk`` or ``window`` less than one.
            Exception: what the function raised, at its item's place.
        """
        from autocelery._publish.mapping import mapped

        function = task_of(function) if isinstance(function, LiveCall) else maybe_evaluate(function)
        follower = None
        if options.pop("output", False):
            from autocelery._publish.showing import Printer
            from autocelery._publish.streaming import Follower

            follower = Follower(self.listener, Printer())
        live = partial(self.live, env=options.pop("env", ()), packages=options.pop("packages", ()))
        return mapped(live, function, items, follower=follower, **options)

    def stream(self, results: AsyncResult | Iterable[AsyncResult]) -> Iterator[Output]:
        """Yield what calls print and log, while they run, until the last of them has ended.

        Args:
            results: of calls that were sent with ``output=True``, one or several.

        Raises:
            WrongCall: one of them was not, or its output was read already.
            ResultNeverComes: one of them is sent when the Django transaction here is committed.
        """
        from autocelery._publish.streaming import streamed

        if self.shipper.runs_here:  # it was printed by this process
            return iter(())
        return streamed(self.listener, results)

    def wait(self, results: AsyncResult | Iterable[AsyncResult], timeout: float | None = None) -> Waited:
        """Wait until all ``results`` are there and count them, failures with their errors.

        Args:
            results: what calls returned, one or several.
            timeout: seconds to wait for all of them.

        Raises:
            ResultNeverComes: without a timeout, of a result that nothing is going to store while this waits.
        """
        from autocelery._publish.mapping import waited

        return waited(results, timeout)

    @contextmanager
    def _sending(
        self, source: Source | Snapshot, output: bool, env: Collection[str], asked: tuple[str, ...]
    ) -> Iterator[None]:
        def aim(app: Celery, name: str) -> Target | None:
            return target(self, app._tasks.get(name), source) if app is self.app else None

        hearing = self.listener.hearing() if output and not self.shipper.runs_here else nullcontext()
        token = _asked.set(_with_those_in_force(asked))
        try:
            with variables.naming(env), aims.sending_as(aim), hearing:
                yield
        finally:
            _asked.reset(token)

    def _target_beside(self, task: Task, main: Target) -> Target:
        """Return what a call of ``task`` in ``__main__`` runs that hangs on a call of ``main``: with its variables."""
        return target(self, task, self.source, self.shipper.sealer.names_in(main.variables))

    def source(self, task: Task | None, asked: tuple[str, ...] = ()) -> Snapshot:
        """Return the snapshot that a live call of ``task`` sent now runs.

        Args:
            task: what is called, where this process knows it.
            asked: requirements of the call itself.
        """
        if task is not None and is_in_main(task) and current_snapshot() is None:
            return self._with_value(task, asked)
        asked = _with_those_in_force(asked)
        if not asked:
            return self.snapshot()
        if current_snapshot() is not None:
            raise NotShippable(
                f"packages={list(asked)}: a live task has no key to sign another environment with. Ask for them "
                "where the first call is sent from."
            )
        return self.shipper.ship(asked=asked)

    def _with_value(self, task: Task, asked: tuple[str, ...] = ()) -> Snapshot:
        if current_snapshot() is not None:
            raise NotShippable(
                f"{task.name} is in no module, and a live task has no key to sign it with. Move the function into "
                "a module of the tree, or send the call from outside."
            )
        from autocelery._publish.values import packed_tasks

        values = packed_tasks(self.app, {task.name: task})
        return self.shipper.ship(values, _with_those_in_force(asked))

    def found(self, prefix: str) -> Snapshot:
        """Return the one snapshot in the store that begins with ``prefix``.

        Raises:
            SnapshotNotFound: there is none, or more than one.
        """
        from autocelery._publish import history

        return history.found(self, prefix)

    def __repr__(self) -> str:
        return f"<Autocelery of {self.app.main or 'an app without a name'}>"


def _with_those_in_force(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a call asks for, with what the block asks for that it is sent in."""
    return tuple(sorted({*_asked.get(), *asked}))


def _requirements(packages: object, function: object) -> tuple[str, ...]:
    if not packages:
        return ()
    from autocelery._env import adding

    if isinstance(function, Snapshot) or (isinstance(function, LiveCall) and function._is_pinned):
        raise ConfigurationError(
            "packages=... is for what is shipped now, and a snapshot that is there already has its packages. Leave "
            "one of the two out."
        )
    return adding.read(packages)


@contextmanager
def every_app_live() -> Iterator[None]:
    """Make the calls of every app live, also of those that are made in this block and know nothing of autocelery."""

    def aim(app: Celery, name: str) -> Target:
        auto = for_app(app)
        return target(auto, app._tasks.get(name), auto.source)

    before = Celery.amqp_cls, Celery.send_task
    Celery.amqp_cls = messages.live_amqp(Celery.amqp_cls)
    Celery.send_task = unreachable.naming_the_broker(Celery.send_task, lambda app, *_: app)
    try:
        with aims.sending_as(aim):
            yield
    finally:
        Celery.amqp_cls, Celery.send_task = before


def for_app(app: Celery) -> Autocelery:
    """Return the Autocelery of an app; one without gets it here."""
    found: Autocelery | None = getattr(app, "autocelery", None)
    return found or Autocelery(app)


def of(task: Task) -> Autocelery:
    """Return the Autocelery of the task's app.

    Raises:
        AppNotFound: the app has none.
    """
    found = getattr(task.app, "autocelery", None)
    if found is None:
        raise AppNotFound(
            f"{task.name} belongs to an app without autocelery. Add `auto = Autocelery(app)` where the app is made."
        )
    return found  # type: ignore[no-any-return]


def _add_attributes() -> None:
    """Give every task ``.live`` and ``.using()``; a class that has its own keeps it."""
    if "live" not in vars(Task):
        Task.live = property(lambda task: LiveCall(task, of(task).source))
        Task.using = lambda task, snapshot: of(task).using(task, snapshot)
